#pragma once

#include <string>

#include "daemon/job.h"
#include "daemon/log.h"
#include "daemon/source.h"
#include "replicate/replicator.h"

namespace fanmirror::daemon {

// What a replicator of the target is opened with. `source` outlives it, and is watched. `state_dir` is the target's own.
replicate::Options OptionsOf(const Job& job, const Target& target, const Source& source, const std::string& state_dir,
                             const LogSink& log);

// Whether a target of the job was mirrored to in an earlier run: then a source that is missing is waited for. `state_dir` is
// the daemon's.
bool WasMirrored(const config::Job& job, const std::string& state_dir);

}  // namespace fanmirror::daemon
