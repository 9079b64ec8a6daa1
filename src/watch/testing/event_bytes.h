#pragma once

#include <sys/fanotify.h>

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "model/file_id.h"

namespace fanmirror::watch {

// fanotify events as the kernel writes them.

constexpr int kTestHandleType = 1;

inline model::FileId TestId(std::string_view handle) {
  return *model::FileId::FromHandle(kTestHandleType, handle);
}

template <typename T>
std::string Bytes(T value) {
  return {reinterpret_cast<const char*>(&value), sizeof(value)};
}

inline std::string InfoRecord(int info_type, std::string body) {
  while (body.size() % 4 != 0) body.push_back('\0');
  const auto length = static_cast<std::uint16_t>(body.size() + 4);
  return Bytes(static_cast<std::uint8_t>(info_type)) + Bytes(std::uint8_t{0}) + Bytes(length) + body;
}

inline std::string HandleBytes(std::string_view handle, int handle_type) {
  return Bytes(std::uint64_t{42}) + Bytes(static_cast<std::uint32_t>(handle.size())) + Bytes(handle_type) +
         std::string(handle);
}

inline std::string HandleRecord(int info_type, std::string_view handle, int handle_type = kTestHandleType) {
  return InfoRecord(info_type, HandleBytes(handle, handle_type));
}

inline std::string EntryRecord(int info_type, std::string_view dir, const std::string& name,
                               int handle_type = kTestHandleType) {
  return InfoRecord(info_type, HandleBytes(dir, handle_type) + name + '\0');
}

inline std::string EventBytes(std::uint64_t mask, int pid, const std::vector<std::string>& records) {
  std::string body;
  for (const std::string& each : records) body += each;
  fanotify_event_metadata head{};
  head.event_len = static_cast<std::uint32_t>(sizeof(head) + body.size());
  head.vers = FANOTIFY_METADATA_VERSION;
  head.metadata_len = sizeof(head);
  head.mask = mask;
  head.fd = FAN_NOFD;
  head.pid = pid;
  return Bytes(head) + body;
}

}  // namespace fanmirror::watch
