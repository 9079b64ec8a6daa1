#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "watch/event.h"

// What the kernel, or a buffer that a killed process left half written, may hold.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view buffer(reinterpret_cast<const char*>(data), size);
  const auto inside = [&](std::string_view name) {
    return name.empty() || name == "." ||
           (name.data() >= buffer.data() && name.data() + name.size() <= buffer.data() + buffer.size());
  };
  fanmirror::watch::ParseEvents(buffer, [&](const fanmirror::watch::Event& event) {
    if (!inside(event.entry.name) || !inside(event.from.name) || !inside(event.to.name)) std::abort();
  });
  return 0;
}
