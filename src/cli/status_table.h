#pragma once

#include <string>

#include "nlohmann/json.hpp"

namespace fanmirror::cli {

// What `status` shows to people of the daemon's status object (daemon/status.h): a line a target, then the
// counters. Fields that are missing are shown as nothing, so that another version's daemon can be asked.
std::string FormatStatusTable(const nlohmann::json& status);

}  // namespace fanmirror::cli
