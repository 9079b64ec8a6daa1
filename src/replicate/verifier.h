#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "model/change.h"
#include "os/tree.h"
#include "replicate/entry_reader.h"
#include "replicate/inquiries.h"
#include "replicate/link_groups.h"
#include "replicate/verification.h"
#include "scan/walk.h"

namespace fanmirror::replicate {

// A place where the target is not what the catalogue says, and what is wrong with it.
struct Repair {
  enum class Kind : std::uint8_t {
    kPlace,     // another node is there than shall be, or none
    kMetadata,  // the right node, with other metadata
    kContent    // the right node, with other content
  };
  std::string path;
  Kind kind = Kind::kPlace;
};

// Compares source and target, directory by directory: the source's entries as they are now with the target's listing. What
// differs is looked at again once all that was known to have changed is on the target; what still differs then, though the
// source's node is unchanged and nothing is pending for it, is a difference. What changed meanwhile is looked at once more.
// One run, on the thread of whoever asks for it; memory is bounded by a directory's names (hashes of them, and those that the
// target lacks), and the directories on one path with their siblings.
class Verifier {
 public:
  // So often something is looked at that changed each time; then nothing is concluded.
  static constexpr int kMaxLooks = 20;
  // Names of one directory on the target: a receiver that tells more has no such directory. Half a GB of hashes.
  static constexpr std::size_t kMaxNames = std::size_t{1} << 25;

  // What is known to be pending for a place.
  enum class Pending : std::uint8_t { kNothing, kChange, kFailure };
  struct Host {
    const os::Tree* tree = nullptr;
    const scan::Selection* selection = nullptr;
    Inquiries* inquiries = nullptr;
    // Blocks until all changes that were made before the call are on the target, but for those that fail there.
    std::function<absl::Status()> settle;
    std::function<Pending(const model::Change&)> pending;
    // Corrects the catalogue by what the target tells of these places and notes them as changes; blocks until that is sure.
    std::function<absl::Status(std::vector<Repair>)> repair;
  };
  // All that `host` and `options` hold outlives the verifier.
  Verifier(Host host, const VerifyOptions* options) : host_(std::move(host)), options_(*options) {}
  ~Verifier() { host_.inquiries->Forget(); }

  absl::StatusOr<VerifyCounts> Run();

 private:
  struct Directory {
    model::FileId id;
    std::string path;
    model::Name name;  // empty: the root
    std::uint64_t inquiry = 0;
  };
  // Something that may be a difference.
  struct Suspect {
    model::Name name;  // its name empty: the root itself
    std::string path;
    std::optional<model::Node> source;  // as it was; nullopt: there was none
    std::optional<LinkGroups::Other> other;  // grouped with it on one side only
    // As they are now, set by LookAgain.
    std::optional<Pair> pair;
    bool moved = false;       // it changed since it was looked at before
    bool gone = false;        // its directory is not in the job any more
    bool unreadable = false;  // `what` says why it is not compared
    std::string what;         // empty: no difference
    Repair::Kind kind = Repair::Kind::kPlace;
  };

  absl::Status Walk();
  absl::Status CompareDirectory(const Directory& directory);
  absl::Status ComparePage(const Directory& directory, const wire::Listing& listing);
  absl::Status CompareNames(const Directory& directory, std::vector<Pair> pairs, const std::vector<std::string>& names);
  absl::Status FindMissing(const Directory& directory);
  absl::Status CompareRoot();
  absl::Status Suspecting(Suspect suspect);
  absl::Status Unreadable(const std::string& path, const absl::Status& status);
  // To whoever asked; an error when nobody wants to hear more.
  absl::Status Tell(const Difference& difference) const;
  static absl::Status GivenUp();

  // Second looks: verifier_again.cc
  absl::Status Resolve();
  // Leaves of `suspects` what differs now, with `what` set, and what changed since the look before, with `moved` set.
  absl::Status LookAgain(std::vector<Suspect>* suspects);
  void LookAtSource(Suspect* suspect);
  absl::Status LookAtTarget(std::vector<Suspect>* suspects);
  void Judge(Suspect* suspect);
  absl::Status JudgeLinks(Suspect* suspect);
  absl::Status RepairAll(const std::vector<Suspect>& suspects);
  Pending PendingOf(const Suspect& suspect) const;
  absl::Status ReportAll(const std::vector<Suspect>& suspects);
  absl::Status Report(const Suspect& suspect, bool repaired);

  absl::StatusOr<std::optional<model::Node>> SourceNode(const model::Name& name) const;
  std::uint64_t AskFor(const std::string& path, bool children, std::uint64_t after);
  absl::StatusOr<wire::Listing> TakeListing(std::uint64_t inquiry);
  // Keeps the rates, tells the progress. An error: given up.
  absl::Status Pace();

  Host host_;
  const VerifyOptions& options_;
  std::unique_ptr<EntryReader> reader_;
  VerifyCounts counts_;
  LinkGroups links_;
  std::vector<Directory> stack_;    // to be listed, the last one first
  std::deque<Directory> asked_;     // the target is listing them
  absl::flat_hash_set<std::uint64_t> seen_;  // hashes of the names that the target has in the directory at hand
  std::vector<Suspect> suspects_;
  absl::Time began_;
  absl::Time told_;
};

}  // namespace fanmirror::replicate
