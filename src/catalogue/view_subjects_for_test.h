#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "catalogue/catalogue.h"
#include "catalogue/expected.h"
#include "catalogue/scratch_for_test.h"

namespace fanmirror::catalogue {

class EmptyView : public View {
 public:
  std::optional<Record> Node(const model::FileId&) const override { return std::nullopt; }
  std::optional<model::FileId> Child(const model::Name&) const override { return std::nullopt; }
  std::vector<model::Name> NamesOf(const model::FileId&) const override { return {}; }
  void ForEachChild(const model::FileId&,
                    absl::FunctionRef<bool(const std::string&, const model::FileId&)>) const override {}
};

// What is under test, with one way in.
class Subject {
 public:
  virtual ~Subject() = default;
  virtual void Apply(const std::vector<Effect>& batch) = 0;
  virtual const View& view() const = 0;
};

class CatalogueSubject : public Subject {
 public:
  static constexpr unsigned int kSeeds = 8;  // each commit waits for the disk
  CatalogueSubject() : catalogue_(*Catalogue::Open(scratch_.path() + "/catalogue")) {}
  void Apply(const std::vector<Effect>& batch) override {
    EXPECT_STATUS_OK(catalogue_->Commit(++batch_, batch));
  }
  const View& view() const override { return *catalogue_; }

 private:
  Scratch scratch_;
  std::unique_ptr<Catalogue> catalogue_;
  std::uint64_t batch_ = 0;
};

class OverlaySubject : public Subject {
 public:
  static constexpr unsigned int kSeeds = 100;
  void Apply(const std::vector<Effect>& batch) override {
    ++batch_;
    for (const Effect& effect : batch) expected_.Apply(batch_, effect);
  }
  const View& view() const override { return expected_; }

 private:
  EmptyView empty_;
  Expected expected_{&empty_};
  std::uint64_t batch_ = 0;
};

// The catalogue follows up to kUnderWay batches behind, as acks do.
class FollowedSubject : public Subject {
 public:
  static constexpr unsigned int kSeeds = 15;
  FollowedSubject()
      : catalogue_(*Catalogue::Open(scratch_.path() + "/catalogue")), expected_(catalogue_.get()) {}
  void Apply(const std::vector<Effect>& batch) override {
    under_way_[++batch_] = batch;
    for (const Effect& effect : batch) expected_.Apply(batch_, effect);
    while (under_way_.size() > random_() % (kUnderWay + 1)) {
      const auto first = under_way_.begin();
      EXPECT_STATUS_OK(catalogue_->Commit(first->first, first->second));
      expected_.Retire(first->first);
      under_way_.erase(first);
    }
  }
  const View& view() const override { return expected_; }

 private:
  static constexpr std::size_t kUnderWay = 4;
  Scratch scratch_;
  std::unique_ptr<Catalogue> catalogue_;
  Expected expected_;
  std::map<std::uint64_t, std::vector<Effect>> under_way_;
  std::uint64_t batch_ = 0;
  std::mt19937 random_{1};
};

inline Record RecordOf(std::uint64_t number) {
  Record record;
  record.metadata.type = static_cast<model::NodeType>(1 + number % 7);
  record.metadata.mode = number % 010000;
  record.metadata.uid = ~static_cast<std::uint32_t>(number);
  record.metadata.gid = static_cast<std::uint32_t>(number);
  record.metadata.size = number << 33;
  record.metadata.mtime = {-static_cast<std::int64_t>(number), 999'999'999};
  record.metadata.ctime = {static_cast<std::int64_t>(number), 1};
  record.metadata.links = 3;
  if (number % 7 > 4) record.metadata.device_minor = 9;
  record.content_known = number % 2;
  if (record.content_known) record.content = {number, ~number};
  record.racy = number % 3 == 0;
  return record;
}

inline Effect SetNode(const model::FileId& id, std::uint64_t number) {
  return {Effect::Kind::kSetNode, id, {}, {}, RecordOf(number)};
}
inline Effect SetName(const model::Name& name, const model::FileId& id) {
  return {Effect::Kind::kSetName, id, name, {}, {}};
}
inline Effect DropName(const model::Name& name) { return {Effect::Kind::kDropName, {}, name, {}, {}}; }
inline Effect MoveName(const model::Name& name, const model::Name& to) {
  return {Effect::Kind::kMoveName, {}, name, to, {}};
}

inline std::vector<std::pair<std::string, model::FileId>> Children(const View& view,
                                                                   const model::FileId& dir) {
  std::vector<std::pair<std::string, model::FileId>> out;
  view.ForEachChild(dir, [&](const std::string& name, const model::FileId& id) {
    out.emplace_back(name, id);
    return true;
  });
  return out;
}

}  // namespace fanmirror::catalogue
