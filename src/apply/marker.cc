#include "apply/marker.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "absl/strings/str_cat.h"
#include "apply/text_lines.h"
#include "model/failure.h"
#include "os/unique_fd.h"

namespace fanmirror::apply {
namespace {

constexpr std::string_view kHeader = "fanmirror-marker 1\n";
constexpr const char* kName = "marker";
constexpr const char* kNewName = "marker.new";
// Bytes of a marker: three texts that the wire keeps to a line each.
constexpr std::size_t kMaxBytes = 8192;

absl::Status Failed(std::string_view call, int errno_value) {
  return model::SystemFailure(model::Reaction::kReconnect, call, ".fanmirror/marker", errno_value);
}

}  // namespace

std::string FormatMarker(const Marker& marker) {
  return absl::StrCat(std::string(kHeader), "job=", marker.job, "\ninstance=", marker.instance,
                      "\nsource=", marker.source, "\n");
}

std::optional<Marker> ParseMarker(std::string_view text) {
  if (!text.starts_with(kHeader)) return std::nullopt;
  text.remove_prefix(kHeader.size());
  auto job = TakeLine("job=", &text);
  auto instance = job ? TakeLine("instance=", &text) : std::nullopt;
  auto source = instance ? TakeLine("source=", &text) : std::nullopt;
  if (!source || !text.empty()) return std::nullopt;
  return Marker{std::move(*job), std::move(*instance), std::move(*source)};
}

absl::StatusOr<FoundMarker> ReadMarker(int home_fd) {
  const os::UniqueFd fd(openat(home_fd, kName, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (!fd && errno == ENOENT) return FoundMarker{};
  if (!fd) return Failed("open", errno);
  std::array<char, kMaxBytes + 1> text;
  const ssize_t size = read(fd.get(), text.data(), text.size());
  if (size < 0) return Failed("read", errno);
  return FoundMarker{true, ParseMarker({text.data(), static_cast<std::size_t>(size)})};
}

absl::Status WriteMarker(int home_fd, const Marker& marker) {
  const std::string text = FormatMarker(marker);
  if (text.size() > kMaxBytes)
    return model::Failure(model::Reaction::kReconnect, "the names of the job are too long");
  const os::UniqueFd fd(
      openat(home_fd, kNewName, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!fd) return Failed("create", errno);
  const ssize_t written = write(fd.get(), text.data(), text.size());
  if (written != static_cast<ssize_t>(text.size())) return Failed("write", written < 0 ? errno : ENOSPC);
  if (fsync(fd.get()) != 0) return Failed("fsync", errno);
  if (renameat(home_fd, kNewName, home_fd, kName) != 0) return Failed("rename", errno);
  if (fsync(home_fd) != 0) return Failed("fsync the directory of", errno);
  return absl::OkStatus();
}

}  // namespace fanmirror::apply
