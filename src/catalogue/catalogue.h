#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "catalogue/view.h"

namespace fanmirror::catalogue {

// The catalogue of one target: what it is known to hold. Kept in LMDB (env "catalogue"), written durably and only
// after the target proved it, so it may lag behind the target but never runs ahead of it.
// One thread (reads included).
class Catalogue : public View {
 public:
  // What is kept beside the names and nodes.
  struct Header {
    std::uint64_t batch = 0;       // number of the last batch whose effects are in, durable on the target
    std::uint64_t listed = 0;      // what later batches, up to this one, left was listed: it is in, and may not be durable there
    std::string instance;          // who we are to this target: a random id made with the catalogue (32 hex digits)
    model::FileId root;            // of the source when the catalogue was made; empty: new
    std::string filesystem;        // UUID (or what stands for it) of the source's filesystem
    bool complete = false;         // the target was listed to the end since names and nodes were empty
    std::uint64_t held_of = 0;     // plan::DeleteGuard::held_of
  };

  // Opens or makes the catalogue in directory `dir` (made 0700 when missing). What is damaged there, or was left by a
  // failed write, is set aside as `dir`.damaged, for a look at it (one is kept), and the catalogue is new. After an unclean
  // end all pages are read. kHaltJob: written by a newer fanmirror, or not to be set aside.
  static absl::StatusOr<std::unique_ptr<Catalogue>> Open(const std::string& dir);
  ~Catalogue() override;

  // Why what was there was set aside, in one line; empty: it was not.
  const std::string& set_aside() const { return set_aside_; }

  const Header& header() const { return header_; }
  absl::Status SetHeader(const Header& header);  // durable

  // Applies the effects, sets Header::batch, and syncs; all or nothing. Splits nothing: callers keep it below ~100,000.
  // kRetry: no room, nothing changed. Refused with health() when that is not OK.
  absl::Status Commit(std::uint64_t batch, absl::Span<const Effect> effects);
  // Empties names and nodes (of the header only `complete` goes): the target is to be learnt anew by listing it. What was
  // damaged is gone then, so health() is OK again when this succeeds.
  absl::Status Clear();

  std::uint64_t nodes() const;   // count
  absl::Status health() const;   // the first error since it was opened or cleared; reads find nothing after it

  std::optional<Record> Node(const model::FileId& id) const override;
  std::optional<model::FileId> Child(const model::Name& name) const override;
  std::vector<model::Name> NamesOf(const model::FileId& id) const override;
  void ForEachChild(const model::FileId& dir,
                    absl::FunctionRef<bool(const std::string& name, const model::FileId& id)> visit) const override;

 private:
  Catalogue();
  static absl::StatusOr<std::unique_ptr<Catalogue>> OpenAsItIs(const std::string& dir);
  struct Store;
  std::unique_ptr<Store> store_;
  Header header_;
  std::string set_aside_;
};

}  // namespace fanmirror::catalogue
