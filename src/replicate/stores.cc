#include "replicate/stores.h"

#include <string>
#include <utility>

#include "model/failure.h"
#include "os/clock.h"

namespace fanmirror::replicate {

using catalogue::Catalogue;
using catalogue::PendingSet;

namespace {

absl::Status Refuse(const Options& options, const SourceIdentity& known) {
  return model::Failure(model::Reaction::kHaltJob,
                        "the source " + model::QuotePath(options.source) + " is not the directory that target " +
                            options.target + " was mirrored from (filesystem " + known.filesystem + " then, " +
                            options.filesystem + " now): mount the right filesystem, or have what is there mirrored with " +
                            "fanmirror adopt " + options.job);
}

// What is known in the file or, in state that is older than the file, in the catalogue; else we are new. Durable.
absl::StatusOr<Identity> Identify(const Options& options, bool adopting, const Catalogue& catalogue) {
  const SourceIdentity source{options.tree->root(), options.filesystem};
  const Catalogue::Header& header = catalogue.header();
  const auto stored = ReadIdentity(options.state_dir);
  if (!stored.ok() && !adopting) return stored.status();
  Identity identity{header.instance, source, false};
  if (stored.ok() && *stored) {
    identity = **stored;
  } else if (!header.root.empty()) {
    identity = {header.instance, {header.root, header.filesystem}, header.batch > 0};
  }
  if (identity.source != source && !adopting) return Refuse(options, identity.source);
  identity.source = source;
  if (stored.ok() && *stored == identity) return identity;
  if (absl::Status written = WriteIdentity(options.state_dir, identity); !written.ok()) return written;
  return identity;
}

// The catalogue follows: what it holds of another source, or for another instance, is forgotten.
absl::Status Bind(const Identity& identity, bool adopting, Catalogue* catalogue) {
  Catalogue::Header header = catalogue->header();
  const bool bound = header.instance == identity.instance && header.root == identity.source.root &&
                     header.filesystem == identity.source.filesystem;
  if (adopting || (!bound && !header.root.empty())) {
    if (absl::Status cleared = catalogue->Clear(); !cleared.ok()) return cleared;
    header = catalogue->header();
  }
  if (bound) return absl::OkStatus();
  header.instance = identity.instance;
  header.root = identity.source.root;
  header.filesystem = identity.source.filesystem;
  return catalogue->SetHeader(header);
}

}  // namespace

absl::StatusOr<Stores> OpenStores(const Options& options) {
  Stores stores;
  const auto adoption = ReadAdoption(options.state_dir);
  if (!adoption.ok()) return adoption.status();
  stores.adopting = *adoption == SourceIdentity{options.tree->root(), options.filesystem};

  const std::string pending_dir = options.state_dir + "/pending";
  if (stores.adopting) {
    // Changes of what was mirrored before; all is scanned.
    if (absl::Status discarded = PendingSet::Discard(pending_dir); !discarded.ok()) return discarded;
  }
  auto pending = PendingSet::Open(pending_dir, os::BootId(),
                                  {.settle_ns = absl::ToInt64Nanoseconds(options.settle),
                                   .max_delay_ns = absl::ToInt64Nanoseconds(options.max_delay)});
  if (!pending.ok()) return pending.status();
  stores.pending = *std::move(pending);

  auto catalogue = Catalogue::Open(options.state_dir + "/catalogue");
  if (!catalogue.ok()) return catalogue.status();
  stores.catalogue = *std::move(catalogue);
  if (!stores.catalogue->set_aside().empty()) options.log(Severity::kError, stores.catalogue->set_aside());

  auto identity = Identify(options, stores.adopting, *stores.catalogue);
  if (!identity.ok()) return identity.status();
  stores.identity = *std::move(identity);
  if (absl::Status bound = Bind(stores.identity, stores.adopting, stores.catalogue.get()); !bound.ok()) return bound;
  return stores;
}

}  // namespace fanmirror::replicate
