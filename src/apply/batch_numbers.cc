#include "apply/batch_numbers.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "model/failure.h"
#include "os/entries.h"
#include "os/unique_fd.h"
#include "wire/messages.h"

namespace fanmirror::apply {
namespace {

constexpr std::string_view kPrefix = "at.";

struct Numbers {
  std::uint64_t begun = 0;
  std::uint64_t durable = 0;
};

std::string NameOf(const Numbers& numbers) {
  return absl::StrCat(std::string(kPrefix), numbers.begun, ".", numbers.durable);
}

std::optional<Numbers> ParseName(std::string_view name) {
  Numbers numbers;
  const std::string_view text = name.substr(kPrefix.size());
  const std::size_t dot = text.find('.');
  if (dot == std::string_view::npos || !absl::SimpleAtoi(std::string(text.substr(0, dot)), &numbers.begun) ||
      !absl::SimpleAtoi(std::string(text.substr(dot + 1)), &numbers.durable)) {
    return std::nullopt;
  }
  // Only what NameOf writes: no signs, no leading zeros.
  if (NameOf(numbers) != name || numbers.durable > numbers.begun) return std::nullopt;
  if (numbers.begun > wire::kMaxBatchNumber) return std::nullopt;
  return numbers;
}

absl::Status Failed(std::string_view call, const std::string& name, int errno_value) {
  return model::SystemFailure(model::Reaction::kReconnect, call, ".fanmirror/" + name, errno_value,
                              errno_value == EROFS ? "remount the target's filesystem read-write" : "");
}

absl::StatusOr<std::vector<std::string>> NamesIn(int home_fd) {
  const os::UniqueFd fd(openat(home_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return Failed("open", "", errno);
  os::Entries entries;
  entries.Start(fd.get());
  std::vector<std::string> names;
  for (;;) {
    os::Entries::Entry entry;
    int error = 0;
    const os::Entries::Result result = entries.Next(&entry, &error);
    if (result == os::Entries::Result::kError) return Failed("list", "", error);
    if (result == os::Entries::Result::kEnd) return names;
    if (std::string_view(entry.name).starts_with(kPrefix)) names.emplace_back(entry.name);
  }
}

}  // namespace

absl::Status BatchNumbers::Load(int home_fd) {
  const std::lock_guard lock(mutex_);
  home_fd_ = home_fd;
  const auto names = NamesIn(home_fd);
  if (!names.ok()) return names.status();
  const std::optional<Numbers> numbers = names->size() == 1 ? ParseName(names->front()) : std::nullopt;
  if (!numbers) return RemoveAll();
  begun_ = numbers->begun;
  durable_ = numbers->durable;
  return absl::OkStatus();
}

absl::Status BatchNumbers::Reset() {
  const std::lock_guard lock(mutex_);
  return RemoveAll();
}

absl::Status BatchNumbers::RemoveAll() {
  const auto names = NamesIn(home_fd_);
  if (!names.ok()) return names.status();
  for (const std::string& name : *names) {
    if (unlinkat(home_fd_, name.c_str(), 0) != 0) return Failed("remove", name, errno);
  }
  begun_ = durable_ = 0;
  const std::string name = NameOf({});
  const os::UniqueFd fd(
      openat(home_fd_, name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!fd) return Failed("create", name, errno);
  return absl::OkStatus();
}

absl::Status BatchNumbers::MoveTo(std::uint64_t begun, std::uint64_t durable) {
  const std::string from = NameOf({begun_, durable_});
  const std::string to = NameOf({begun, durable});
  if (from != to && renameat(home_fd_, from.c_str(), home_fd_, to.c_str()) != 0)
    return Failed("rename", from, errno);
  begun_ = begun;
  durable_ = durable;
  return absl::OkStatus();
}

absl::Status BatchNumbers::Begin(std::uint64_t number) {
  const std::lock_guard lock(mutex_);
  // A source that was restored from a backup counts from an earlier number on.
  return MoveTo(number, std::min(durable_, number - 1));
}

absl::Status BatchNumbers::Durable(std::uint64_t number) {
  const std::lock_guard lock(mutex_);
  return MoveTo(begun_, std::min(number, begun_));
}

std::uint64_t BatchNumbers::begun() const {
  const std::lock_guard lock(mutex_);
  return begun_;
}

std::uint64_t BatchNumbers::durable() const {
  const std::lock_guard lock(mutex_);
  return durable_;
}

}  // namespace fanmirror::apply
