// A verification whose target answers what no receiver answers: it ends, with a reason or with what can be known, and asks no
// more than there is to ask. What is no answer at all never comes so far: see hostile_receiver_test.cc.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "hash/content_hasher.h"
#include "model/failure.h"
#include "os/testing/tree_fixture.h"
#include "replicate/verifier.h"

namespace fanmirror::replicate {
namespace {

using model::NodeType;
using model::Reaction;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;

class HostileAnswers : public os::testing::TreeTest {
 protected:
  // So that a verification that believes everything ends, too.
  static constexpr std::size_t kManyQuestions = 200;

  static wire::ListedEntry Fifo(std::string name) {
    wire::ListedEntry entry;
    entry.name = std::move(name);
    entry.metadata.type = NodeType::kFifo;
    return entry;
  }
  // As an honest receiver lists a place of the source's tree that is the same on the target.
  wire::ListedEntry Same(const std::string& name) {
    wire::ListedEntry entry;
    const auto node = name.empty() ? LookNode(tree_->root()) : Look(name);
    if (node) entry.metadata = node->metadata;
    entry.name = name;
    entry.inode = 1;
    entry.xattrs = hash::DigestOf(absl::Span<const model::Xattr>());
    return entry;
  }
  // A listing of one page, with the root itself as it is on the source.
  wire::Listing Page(std::vector<wire::ListedEntry> entries, bool last = true) {
    wire::Listing page;
    page.exists = true;
    page.self = Same("");
    page.entries = std::move(entries);
    page.last = last;
    return page;
  }

  // Verifies against a target that answers each question at once with what `answer` makes of it.
  absl::StatusOr<VerifyCounts> Verify(const std::function<Answer(const Question&)>& answer) {
    Inquiries* asked = nullptr;
    Inquiries inquiries([&] {
      for (const Question& question : asked->TakeQuestions()) {
        ++questions_;
        Answer said = answer(question);
        const std::uint64_t id = std::visit([](const auto& one) { return one.id; }, question);
        std::visit([id](auto& one) { one.id = id; }, said);
        asked->Deliver(std::move(said));
      }
    });
    asked = &inquiries;
    VerifyOptions options;
    options.content = true;
    options.abandoned = [] { return false; };
    options.differs = [this](const Difference& difference) {
      found_[difference.path] = difference.what;
      return true;
    };
    options.progress = [](const VerifyCounts&) { return true; };
    Verifier::Host host;
    host.tree = tree_.get();
    host.selection = &selection_;
    host.inquiries = &inquiries;
    host.settle = [] { return absl::OkStatus(); };
    host.pending = [](const model::Change&) { return Verifier::Pending::kNothing; };
    return Verifier(std::move(host), &options).Run();
  }
  static const wire::List* ListIn(const Question& question) { return std::get_if<wire::List>(&question); }

  scan::Selection selection_;
  std::size_t questions_ = 0;
  std::map<std::string, std::string> found_;
};

INSTANTIATE_TEST_SUITE_P(On, HostileAnswers, ::testing::Values("tmpfs"), [](const auto& instance) { return instance.param; });

TEST_P(HostileAnswers, PagesWithoutAnEnd) {
  const auto counts = Verify([&](const Question&) { return Page({Fifo("again")}, /*last=*/questions_ > kManyQuestions); });
  EXPECT_EQ(model::ReactionOf(counts.status()), Reaction::kReconnect);
  EXPECT_THAT(std::string(counts.status().message()), HasSubstr("lists no end of names"));
  EXPECT_LE(questions_, 4U);
}

// Only a directory that the source has, too, is looked into.
TEST_P(HostileAnswers, DirectoriesWithoutABottom) {
  MakeDirectory("source/d");
  const auto counts = Verify([&](const Question& question) {
    const bool children = ListIn(question) != nullptr && ListIn(question)->children && questions_ < kManyQuestions;
    return Page(children ? std::vector{Same("d")} : std::vector<wire::ListedEntry>{});
  });
  ASSERT_TRUE(counts.ok()) << counts.status();
  EXPECT_THAT(found_, ElementsAre(Pair("d/d", HasSubstr("only on the target"))));
  EXPECT_LE(questions_, 10U);
}

TEST_P(HostileAnswers, AHashInPlaceOfAListing) {
  const auto counts = Verify([](const Question&) { return wire::FileHash{}; });
  EXPECT_EQ(model::ReactionOf(counts.status()), Reaction::kReconnect);
  EXPECT_THAT(std::string(counts.status().message()), HasSubstr("another question"));
}

class HostileHashes : public HostileAnswers {
 protected:
  // Verifies one file, which the target lists as it should, but for its hash.
  absl::StatusOr<VerifyCounts> VerifyFile(const Answer& instead_of_hash) {
    WriteFile("source/file", "text");
    return Verify([&, instead_of_hash](const Question& question) -> Answer {
      const wire::List* list = ListIn(question);
      if (list == nullptr) return instead_of_hash;
      if (list->children) return Page({Same("file")});
      wire::Listing place = Page({});
      place.self = Same(list->path);
      place.self.name.clear();
      return place;
    });
  }
};

INSTANTIATE_TEST_SUITE_P(On, HostileHashes, ::testing::Values("tmpfs"), [](const auto& instance) { return instance.param; });

TEST_P(HostileHashes, OfOtherContentIsADifference) {
  ASSERT_TRUE(VerifyFile(wire::FileHash{.exists = true, .hash = {1, 2}}).ok());
  EXPECT_THAT(found_, ElementsAre(Pair("file", "content")));
}

TEST_P(HostileHashes, OfNothingProveNothing) {
  const auto counts = VerifyFile(wire::FileHash{.exists = false});
  ASSERT_TRUE(counts.ok()) << counts.status();
  EXPECT_THAT(found_, IsEmpty());
  EXPECT_EQ(counts->changing, 1U);
  EXPECT_LE(questions_, 10U + 2 * Verifier::kMaxLooks);
}

TEST_P(HostileHashes, ThatFailAreTold) {
  ASSERT_TRUE(VerifyFile(wire::FileHash{.exists = true, .error = "no such luck"}).ok());
  EXPECT_THAT(found_, ElementsAre(Pair("file", HasSubstr("not compared: on the target: no such luck"))));
}

TEST_P(HostileHashes, ThatAreListings) {
  const auto counts = VerifyFile(wire::Listing{});
  EXPECT_EQ(model::ReactionOf(counts.status()), Reaction::kReconnect);
  EXPECT_THAT(std::string(counts.status().message()), HasSubstr("another question"));
}

}  // namespace
}  // namespace fanmirror::replicate
