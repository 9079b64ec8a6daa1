#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <deque>
#include <random>

#include "catalogue/expected.h"
#include "plan/planner.h"
#include "plan/simulated_target.h"

// Seeded random trees: a source in memory is changed at random, looked at in parts and at different moments, planned, and
// the ops are applied to a strict target. No op may fail, what is expected must be what the target has, and when all
// changes were looked at both trees are the same, hard links and all.
namespace fanmirror::plan {
namespace {

using catalogue::Expected;
using model::Change;
using model::FileId;
using model::Metadata;
using model::Name;
using model::Node;
using model::NodeType;
using model::Op;

class EmptyView : public catalogue::View {
 public:
  std::optional<catalogue::Record> Node(const FileId&) const override { return std::nullopt; }
  std::optional<FileId> Child(const Name&) const override { return std::nullopt; }
  std::vector<Name> NamesOf(const FileId&) const override { return {}; }
  void ForEachChild(const FileId&, absl::FunctionRef<bool(const std::string&, const FileId&)>) const override {}
};

FileId Id(std::uint32_t number) {
  return *FileId::FromHandle(1, std::string(reinterpret_cast<const char*>(&number), sizeof number));
}

struct SourceNode {
  FileId id;
  NodeType type = NodeType::kRegular;
  std::uint64_t content = 0;
  std::uint64_t metadata = 0;
  std::uint64_t ctime = 0;
  std::map<std::string, std::shared_ptr<SourceNode>> entries;
};
using SourcePtr = std::shared_ptr<SourceNode>;

class World {
 public:
  explicit World(std::uint64_t seed) : random_(seed), expected_(&empty_) {
    root_ = NewNode(NodeType::kDirectory);
    outside_ = NewNode(NodeType::kDirectory);
    catalogue::Effect effect{.kind = catalogue::Effect::Kind::kSetNode, .id = root_->id, .name = {}, .to = {}, .record = {}};
    effect.record.metadata.type = NodeType::kDirectory;
    expected_.Apply(0, effect);
  }

  void Mutate(int count) {
    for (int i = 0; i < count; ++i) MutateOnce(Pick(8));
  }
  // Renames and exchanges only, all within the source.
  void Move(int count) {
    stay_inside_ = true;
    for (int i = 0; i < count; ++i) MutateOnce(4 + Pick(3));
    stay_inside_ = false;
  }

  // Looks at some of what changed, with the source changing meanwhile, plans and applies.
  void Round(double share, double chance_of_change) {
    Facts facts;
    chance_ = chance_of_change;
    std::deque<Change> todo;
    for (auto it = dirty_.begin(); it != dirty_.end();) {
      if (Chance(share)) {
        todo.push_back(*it);
        it = dirty_.erase(it);
      } else {
        ++it;
      }
    }
    Look(std::move(todo), &facts);
    Policy policy{.root = root_->id};
    if (guarded_ && Chance(0.7)) policy.deletes_allowed = Pick(4);
    const Plan plan = MakePlan(facts, policy, ++round_, &expected_);
    for (const Change& change : plan.postponed) dirty_.push_back(change);
    held_.insert(held_.end(), plan.held.begin(), plan.held.end());
    const auto deletes = std::count_if(plan.steps.begin(), plan.steps.end(), [](const Step& step) { return step.deletes; });
    if (!plan.held.empty()) {
      EXPECT_EQ(deletes, 0) << "of what is held back";
    }
    if (policy.deletes_allowed) {
      EXPECT_LE(static_cast<std::uint64_t>(deletes), *policy.deletes_allowed);
    }
    for (const Step& step : plan.steps) ApplyStep(step);
    ExpectAsExpected();
  }

  // From now on deletes are limited, until the world settles.
  void Guard() { guarded_ = true; }
  bool holds() const { return !held_.empty(); }

  void Settle() {
    guarded_ = false;
    dirty_.insert(dirty_.end(), held_.begin(), held_.end());
    held_.clear();
    for (int i = 0; i < 50 && !dirty_.empty(); ++i) Round(1.0, 0.0);
    EXPECT_TRUE(dirty_.empty());
    std::map<const SourceNode*, const SimulatedTarget::Node*> twins;
    ExpectSame(*root_, target_.root(), "", &twins);
    EXPECT_TRUE(target_.limbo().entries.empty());
  }

  int puts() const { return puts_; }

 private:
  bool Chance(double p) { return std::uniform_real_distribution<>(0, 1)(random_) < p; }
  std::size_t Pick(std::size_t n) { return std::uniform_int_distribution<std::size_t>(0, n - 1)(random_); }

  SourcePtr NewNode(NodeType type) {
    auto node = std::make_shared<SourceNode>();
    node->id = Id(++last_id_);
    node->type = type;
    node->content = type == NodeType::kRegular ? ++clock_ : 0;
    node->metadata = ++clock_;
    node->ctime = ++clock_;
    alive_[node->id] = node;
    return node;
  }

  static void Collect(const SourcePtr& dir, std::vector<SourcePtr>* dirs) {
    dirs->push_back(dir);
    for (const auto& [name, entry] : dir->entries) {
      if (entry->type == NodeType::kDirectory) Collect(entry, dirs);
    }
  }
  SourcePtr AnyDirectory() {
    std::vector<SourcePtr> dirs;
    Collect(root_, &dirs);
    if (!stay_inside_ && Chance(0.1)) return outside_;
    return dirs[Pick(dirs.size())];
  }
  std::string AnyName() { return std::string(1, static_cast<char>('a' + Pick(5))); }
  static bool Within(const SourceNode& tree, const SourceNode* node) {
    if (&tree == node) return true;
    for (const auto& [name, entry] : tree.entries) {
      if (Within(*entry, node)) return true;
    }
    return false;
  }
  void DirtyName(const SourcePtr& dir, const std::string& name) {
    dir->ctime = ++clock_;
    dir->metadata = clock_;
    if (dir != outside_) dirty_.push_back({.kind = Change::Kind::kName, .id = dir->id, .name = name, .content = false, .startup = false});
  }
  void DirtyNode(const SourcePtr& node, bool content) {
    node->ctime = ++clock_;
    dirty_.push_back({.kind = Change::Kind::kNode, .id = node->id, .name = "", .content = content, .startup = false});
  }

  void MutateOnce(std::size_t kind) {
    const SourcePtr dir = AnyDirectory();
    const SourcePtr other = AnyDirectory();
    const std::string name = AnyName();
    const std::string other_name = AnyName();
    const auto at = dir->entries.find(name);
    const auto to = other->entries.find(other_name);
    const bool exists = at != dir->entries.end();
    const bool occupied = to != other->entries.end();
    switch (kind) {
      case 0:
      case 1:
        if (exists) break;
        dir->entries[name] = NewNode(Chance(0.5) ? NodeType::kDirectory : Chance(0.2) ? NodeType::kSymlink : NodeType::kRegular);
        DirtyName(dir, name);
        break;
      case 2: {
        if (!exists || at->second->type == NodeType::kDirectory) break;
        if (at->second->type == NodeType::kRegular) at->second->content = ++clock_;
        at->second->metadata = ++clock_;
        DirtyNode(at->second, true);
        break;
      }
      case 3: {  // remove, with all below
        if (!exists) break;
        const SourcePtr gone = at->second;
        RemoveBelow(gone);
        dir->entries.erase(at);
        DirtyName(dir, name);
        Unlinked(gone);
        break;
      }
      case 4:
      case 5: {  // rename
        if (!exists) break;
        const SourcePtr node = at->second;
        if (Within(*node, other.get())) break;
        if (occupied && (to->second == node || to->second->type == NodeType::kDirectory || node->type == NodeType::kDirectory)) break;
        const SourcePtr replaced = occupied ? to->second : nullptr;
        dir->entries.erase(name);
        other->entries[other_name] = node;
        DirtyName(dir, name);
        DirtyName(other, other_name);
        node->ctime = ++clock_;
        if (replaced) Unlinked(replaced);
        break;
      }
      case 6: {  // exchange
        if (!exists || !occupied || at->second == to->second) break;
        if (Within(*at->second, other.get()) || Within(*to->second, dir.get())) break;
        std::swap(at->second, to->second);
        DirtyName(dir, name);
        DirtyName(other, other_name);
        break;
      }
      case 7: {  // hard link
        if (!exists || occupied || at->second->type != NodeType::kRegular) break;
        other->entries[other_name] = at->second;
        DirtyName(other, other_name);
        DirtyNode(at->second, false);
        break;
      }
    }
  }
  void RemoveBelow(const SourcePtr& node) {
    while (!node->entries.empty()) {
      const auto [name, entry] = *node->entries.begin();
      RemoveBelow(entry);
      node->entries.erase(name);
      DirtyName(node, name);
      Unlinked(entry);
    }
  }
  int CountNames(const SourcePtr& dir, const SourceNode* node) {
    int count = 0;
    for (const auto& [name, entry] : dir->entries) count += (entry.get() == node) + CountNames(entry, node);
    return count;
  }
  void Unlinked(const SourcePtr& node) {
    if (CountNames(root_, node.get()) + CountNames(outside_, node.get()) == 0) alive_.erase(node->id);
    else DirtyNode(node, false);
  }

  // --- looking, by the rules of plan::Facts -------------------------------------------------------------------------
  static Node Seen(const SourceNode& node) {
    Metadata metadata;
    metadata.type = node.type;
    metadata.size = node.type == NodeType::kRegular ? node.content : 0;
    metadata.mtime.seconds = static_cast<std::int64_t>(node.metadata);
    metadata.ctime.seconds = static_cast<std::int64_t>(node.ctime);
    return {node.id, metadata};
  }
  SourcePtr Find(const FileId& id) {
    const auto it = alive_.find(id);
    return it == alive_.end() ? nullptr : it->second;
  }
  std::optional<Name> PlaceOf(const SourcePtr& dir, const SourceNode* node) {
    for (const auto& [name, entry] : dir->entries) {
      if (entry.get() == node) return Name{dir->id, name};
      if (auto below = PlaceOf(entry, node)) return below;
    }
    return std::nullopt;
  }
  bool Observed(const Facts& facts, const FileId& id) {
    for (const auto& [name, observation] : facts.names) {
      if (observation.node && observation.node->id == id) return true;
    }
    return false;
  }

  void Look(std::deque<Change> todo, Facts* facts) {
    std::deque<FileId> displaced;
    while (!todo.empty() || !displaced.empty()) {
      if (Chance(chance_)) MutateOnce(Pick(8));
      if (todo.empty()) {
        const FileId id = displaced.front();
        displaced.pop_front();
        LookForFate(id, facts, &todo, &displaced);
        continue;
      }
      const Change change = todo.front();
      todo.pop_front();
      if (change.kind == Change::Kind::kNode) {
        const SourcePtr node = Find(change.id);
        if (!expected_.Node(change.id) || !node) continue;
        facts->nodes[change.id] = Seen(*node);
        if (change.content) facts->content.insert(change.id);
      } else if (change.kind == Change::Kind::kLimbo) {
        facts->limbo.insert(change.id);
        displaced.push_back(change.id);
      } else {
        LookAtName({change.id, change.name}, facts, &todo, &displaced);
      }
    }
  }

  void LookAtName(const Name& name, Facts* facts, std::deque<Change>* todo, std::deque<FileId>* displaced) {
    if (name.dir.is_limbo() || facts->names.contains(name)) return;
    const SourcePtr dir = Find(name.dir);
    if (name.dir != root_->id && !expected_.Node(name.dir) && !Observed(*facts, name.dir)) {
      const auto place = dir ? PlaceOf(root_, dir.get()) : std::nullopt;
      if (!place) return;
      todo->push_back({.kind = Change::Kind::kName, .id = place->dir, .name = place->name, .content = false, .startup = false});
      if (++detours_ < 1000) todo->push_back(NameChange(name));
      return;
    }
    Observation observation;
    if (dir && dir->entries.contains(name.name)) observation.node = Seen(*dir->entries.at(name.name));
    const auto child = expected_.Child(name);
    const auto others = [&](const FileId& id) {
      for (const Name& other : expected_.NamesOf(id)) {
        if (other != name) todo->push_back(NameChange(other));
      }
    };
    if (observation.node) {
      const FileId id = observation.node->id;
      if (expected_.Node(id)) others(id);
      if (!expected_.Node(id) && observation.node->metadata.type == NodeType::kDirectory) {
        const SourcePtr tree = Find(id);  // a new directory brings its whole subtree
        if (tree) {
          for (const auto& [entry, node] : tree->entries) todo->push_back(NameChange({id, entry}));
        }
      }
    }
    if (child && (!observation.node || *child != observation.node->id)) {
      others(*child);
      displaced->push_back(*child);
    }
    facts->names[name] = observation;
  }

  void LookForFate(const FileId& id, Facts* facts, std::deque<Change>* todo, std::deque<FileId>* displaced) {
    if (Observed(*facts, id) || facts->fates.contains(id)) return;
    const SourcePtr node = Find(id);
    if (!node) {
      facts->fates[id] = Fate::kGone;
      expected_.ForEachChild(id, [&](const std::string&, const FileId& child) {
        displaced->push_back(child);
        return true;
      });
      return;
    }
    // Where a living non-directory is now is often not known.
    const bool known = node->type == NodeType::kDirectory || Chance(0.5) || chance_ == 0;
    const auto place = known ? PlaceOf(root_, node.get()) : std::nullopt;
    if (!known) {
      facts->fates[id] = Fate::kUnknown;
    } else if (!place) {
      facts->fates[id] = Fate::kOutside;
    } else {
      facts->fates[id] = Fate::kUnknown;
      LookAtName(*place, facts, todo, displaced);
      if (Observed(*facts, id)) facts->fates.erase(id);
    }
  }

  // --- applying ------------------------------------------------------------------------------------------------------
  void ApplyStep(const Step& step) {
    const Op& op = step.op;
    std::uint64_t content = 0;
    std::uint64_t metadata = 0;
    for (const catalogue::Effect& effect : step.effects) {
      if (effect.kind != catalogue::Effect::Kind::kSetNode) continue;
      content = effect.record.metadata.size;
      metadata = static_cast<std::uint64_t>(effect.record.metadata.mtime.seconds);
    }
    puts_ += op.kind == Op::Kind::kPut;
    const absl::Status status = target_.Apply(op, content, metadata);
    EXPECT_TRUE(status.ok()) << static_cast<int>(op.kind) << " " << op.from << " -> " << op.path << ": " << status;
  }

  void ExpectAsExpected() { ExpectEntries(root_->id, target_.root(), ""); ExpectEntries(FileId::Limbo(), target_.limbo(), "limbo"); }
  void ExpectEntries(const FileId& dir, const SimulatedTarget::Node& node, const std::string& path) {
    std::size_t count = 0;
    std::vector<std::pair<std::string, FileId>> entries;
    expected_.ForEachChild(dir, [&](const std::string& name, const FileId& id) {
      entries.emplace_back(name, id);
      return true;
    });
    for (const auto& [name, id] : entries) {
      ++count;
      const auto it = node.entries.find(name);
      ASSERT_NE(it, node.entries.end()) << path << "/" << name << " expected and not there";
      const auto record = expected_.Node(id);
      ASSERT_TRUE(record);
      EXPECT_EQ(record->metadata.type, it->second->type) << path << "/" << name;
      if (record->metadata.type == NodeType::kDirectory) ExpectEntries(id, *it->second, path + "/" + name);
    }
    EXPECT_EQ(count, node.entries.size()) << "in " << path << "/";
  }
  void ExpectSame(const SourceNode& source, const SimulatedTarget::Node& target, const std::string& path,
                  std::map<const SourceNode*, const SimulatedTarget::Node*>* twins) {
    EXPECT_EQ(source.type, target.type) << path;
    if (source.type == NodeType::kRegular) {
      EXPECT_EQ(source.content, target.content) << path;
    }
    if (source.type != NodeType::kDirectory) {
      EXPECT_EQ(source.metadata, target.metadata) << path;
    }
    const auto [twin, is_new] = twins->try_emplace(&source, &target);
    EXPECT_EQ(twin->second, &target) << path << ": a hard link was lost";
    for (const auto& [name, entry] : source.entries) {
      const auto it = target.entries.find(name);
      ASSERT_NE(it, target.entries.end()) << path << "/" << name << " is missing";
      ExpectSame(*entry, *it->second, path + "/" + name, twins);
    }
    EXPECT_EQ(source.entries.size(), target.entries.size()) << path << " has more than the source";
  }

  std::mt19937_64 random_;
  std::uint32_t last_id_ = 0;
  std::uint64_t clock_ = 0;
  std::uint64_t round_ = 0;
  double chance_ = 0;
  bool stay_inside_ = false;
  bool guarded_ = false;
  std::vector<Change> held_;
  int puts_ = 0;
  int detours_ = 0;
  SourcePtr root_;
  SourcePtr outside_;
  std::map<FileId, SourcePtr> alive_;
  std::deque<Change> dirty_;
  EmptyView empty_;
  Expected expected_;
  SimulatedTarget target_;
};

void RunSeed(std::uint64_t seed) {
  World world(seed);
  for (int phase = 0; phase < 6; ++phase) {
    world.Mutate(15);
    world.Round(1.0, 0.0);
    world.Mutate(10);
    world.Round(0.5, 0.1);
  }
  world.Settle();
}

// Seeds that failed once.
constexpr std::uint64_t kKeptSeeds[] = {1};

std::uint64_t SeedCount() {
  const char* text = std::getenv("FANMIRROR_PLAN_SEEDS");
  return text != nullptr ? std::strtoull(text, nullptr, 10) : 2500;
}

TEST(RandomTrees, ConvergeWithoutAFailingOp) {
  for (const std::uint64_t seed : kKeptSeeds) RunSeed(seed);
  for (std::uint64_t seed = 1000; seed < 1000 + SeedCount(); ++seed) {
    RunSeed(seed);
    ASSERT_FALSE(HasFailure()) << "seed " << seed << " fails: add it to kKeptSeeds";
  }
}

// Deletes that are held back are made up for, whatever else went on meanwhile; and nothing else waits for them.
TEST(RandomTrees, WhatIsHeldBackGoesOnceItMay) {
  int held = 0;
  for (std::uint64_t seed = 1; seed < 1 + SeedCount(); ++seed) {
    World world(seed);
    world.Mutate(60);
    world.Round(1.0, 0.0);
    world.Guard();
    for (int phase = 0; phase < 5; ++phase) {
      world.Mutate(15);
      world.Round(1.0, 0.0);
      world.Mutate(10);
      world.Round(0.5, 0.1);
    }
    held += world.holds();
    world.Settle();
    ASSERT_FALSE(HasFailure()) << "seed " << seed;
  }
  EXPECT_GT(held, 0);
}

// A file that only moves is never sent again, however it moves.
TEST(RandomTrees, MovesAloneSendNoContent) {
  for (std::uint64_t seed = 1; seed < 200; ++seed) {
    World world(seed);
    world.Mutate(60);
    world.Round(1.0, 0.0);
    world.Settle();
    const int puts = world.puts();
    world.Move(40);
    world.Settle();
    ASSERT_EQ(world.puts(), puts) << "seed " << seed;
  }
}

}  // namespace
}  // namespace fanmirror::plan
