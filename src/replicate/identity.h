#pragma once

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "model/file_id.h"

namespace fanmirror::replicate {

// The directory that is mirrored, wherever it is mounted.
struct SourceIdentity {
  model::FileId root;
  std::string filesystem;  // watch::Mount::filesystem
  friend bool operator==(const SourceIdentity&, const SourceIdentity&) = default;
};

// Who we are to a target, and what it is the mirror of. A small file beside the catalogue: a damaged catalogue can be
// rebuilt from the target, but only by one whom the target knows, and only for the source that it was made of.
struct Identity {
  std::string instance;      // 32 hex digits
  SourceIdentity source;
  bool established = false;  // the target has acknowledged a batch: it is no new, empty directory any more
  friend bool operator==(const Identity&, const Identity&) = default;
};

// `state_dir` is that of one target. All calls block for the disk. nullopt: there is none yet. kHaltJob: damaged.
absl::StatusOr<std::optional<Identity>> ReadIdentity(const std::string& state_dir);
absl::Status WriteIdentity(const std::string& state_dir, const Identity& identity);  // durable

// What a person wants adopted: the target becomes the mirror of this source, whatever it was the mirror of, and the
// receiver takes over its root. Stays until a connection has seen it through, so that no crash loses it.
absl::StatusOr<std::optional<SourceIdentity>> ReadAdoption(const std::string& state_dir);
absl::Status WriteAdoption(const std::string& state_dir, const SourceIdentity& source);  // durable
absl::Status RemoveAdoption(const std::string& state_dir);                               // durable

enum class Fit {
  kNew,      // the target was not mirrored from anything yet
  kSame,     // from this very source
  kAdopted,  // a person wants it to be mirrored from this one from now on
  kAnother,  // from another one: nothing may be sent
};
absl::StatusOr<Fit> FitOf(const std::string& state_dir, const SourceIdentity& source);

}  // namespace fanmirror::replicate
