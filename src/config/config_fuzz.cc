#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "config/config.h"

// A configuration file: taken, or refused with one line that names its place.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  const auto config = fanmirror::config::Parse(text, "/nonexistent/fanmirror.toml");
  if (config.ok()) {
    if (config->jobs.empty()) std::abort();
    return 0;
  }
  const std::string message(config.status().message());
  if (message.find('\n') != std::string::npos || message.find("; ") == std::string::npos) std::abort();
  return 0;
}
