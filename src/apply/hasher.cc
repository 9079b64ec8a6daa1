#include "apply/hasher.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/types/span.h"
#include "apply/failures.h"
#include "apply/home.h"
#include "apply/node.h"
#include "hash/content_hasher.h"
#include "model/failure.h"

namespace fanmirror::apply {
namespace {

// Bytes of one read, and a multiple of the cells that are hashed.
constexpr std::uint64_t kPieceBytes = std::uint64_t{256} << 10;
static_assert(kPieceBytes % hash::SparseHasher::kCellBytes == 0);

// The regular file at `path`, open for reading, or none when there is no such thing for a source.
absl::StatusOr<os::UniqueFd> OpenFile(Root* root, const std::string& path) {
  if (IsReserved(path)) return os::UniqueFd();
  const absl::StatusOr<os::UniqueFd> place = root->OpenNode(path, O_PATH);
  if (!place.ok() && MeansAbsent(place.status())) return os::UniqueFd();
  if (!place.ok()) return place.status();
  Inspected node;
  if (const int error = Inspect(place->get(), "", &node); error != 0) return StepFailure(Step::kInspect, path, error);
  if (node.metadata.type != model::NodeType::kRegular) return os::UniqueFd();
  // By way of the descriptor it is the very node that was looked at, and no device or fifo that took its place.
  const std::string link = absl::StrCat("/proc/self/fd/", place->get());
  os::UniqueFd file(open(link.c_str(), O_RDONLY | O_NONBLOCK | O_NOATIME | O_CLOEXEC));
  if (!file && errno == EPERM) file.reset(open(link.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));  // another's file
  if (!file) return StepFailure(Step::kRead, path, errno);
  return file;
}

// Fills `out` as far as the file goes; how many bytes.
absl::StatusOr<std::size_t> ReadPiece(int fd, const std::string& path, off_t at, absl::Span<char> out) {
  std::size_t got = 0;
  while (got < out.size()) {
    const ssize_t count = pread(fd, out.data() + got, out.size() - got, at + static_cast<off_t>(got));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return StepFailure(Step::kRead, path, errno);
    if (count == 0) break;
    got += static_cast<std::size_t>(count);
  }
  return got;
}

}  // namespace

Hasher::Hasher(std::function<absl::Status(const wire::FileHash&)> answer)
    : answer_(std::move(answer)), thread_([this] { Run(); }) {}

Hasher::~Hasher() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

absl::Status Hasher::Ask(Root* root, const wire::HashFile& hash_file) {
  Waiting waiting{.id = hash_file.id, .path = hash_file.path, .bytes_per_second = hash_file.bytes_per_second, .failure = {}, .file = {}};
  auto file = OpenFile(root, hash_file.path);
  if (file.ok()) {
    waiting.file = *std::move(file);
  } else {
    waiting.failure = file.status();
  }
  const std::lock_guard lock(mutex_);
  if (waiting_.size() >= wire::kMaxHashFiles) {
    return model::Failure(model::Reaction::kReconnect,
                          absl::StrCat("the peer broke the conversation: more than ", wire::kMaxHashFiles,
                                       " files to be hashed at a time"));
  }
  waiting_.push_back(std::move(waiting));
  changed_.notify_all();
  return absl::OkStatus();
}

void Hasher::Run() {
  for (;;) {
    const Waiting* next = nullptr;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return stopping_ || !waiting_.empty(); });
      if (stopping_) return;
      next = &waiting_.front();  // stays where it is: others only append
    }
    const wire::FileHash answer = Answer(*next);
    if (stopping_) return;
    {
      // Before the answer goes: whoever gets it may ask again.
      const std::lock_guard lock(mutex_);
      waiting_.pop_front();
    }
    if (!answer_(answer).ok()) return;
  }
}

wire::FileHash Hasher::Answer(const Waiting& waiting) {
  wire::FileHash answer;
  answer.id = waiting.id;
  absl::Status failure = waiting.failure;
  if (failure.ok() && waiting.file) {
    const auto hash = HashOf(waiting);
    if (hash.ok()) answer.hash = *hash;
    answer.exists = hash.ok();
    failure = hash.status();
  }
  if (!failure.ok()) {
    answer.error = std::string(failure.message());
    answer.reaction = model::ReactionOf(failure);
  }
  return answer;
}

absl::StatusOr<model::ContentHash> Hasher::HashOf(const Waiting& waiting) {
  const int fd = waiting.file.get();
  const auto piece = std::make_unique<char[]>(kPieceBytes);
  hash::SparseHasher hasher;
  const off_t size = lseek(fd, 0, SEEK_END);
  if (size < 0) return StepFailure(Step::kRead, waiting.path, errno);
  static_cast<void>(posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL));
  const absl::Time began = absl::Now();
  std::uint64_t done = 0;
  for (off_t at = 0; at < size && !stopping_;) {
    at = lseek(fd, at, SEEK_DATA);
    if (at < 0 && errno == ENXIO) break;  // a hole up to the end
    if (at < 0) return StepFailure(Step::kRead, waiting.path, errno);
    const std::uint64_t rest = kPieceBytes - static_cast<std::uint64_t>(at) % kPieceBytes;
    const std::size_t wanted = std::min(rest, static_cast<std::uint64_t>(size - at));
    const absl::StatusOr<std::size_t> got = ReadPiece(fd, waiting.path, at, {piece.get(), wanted});
    if (!got.ok()) return got.status();
    hasher.Add(static_cast<std::uint64_t>(at), {piece.get(), *got});
    if (*got < wanted) break;  // it became shorter
    at += static_cast<off_t>(*got);
    done += *got;
    if (waiting.bytes_per_second != 0) {
      PauseUntil(began + absl::Seconds(static_cast<double>(done) / static_cast<double>(waiting.bytes_per_second)));
    }
  }
  return hasher.Finish(static_cast<std::uint64_t>(size));
}

void Hasher::PauseUntil(absl::Time due) {
  std::unique_lock lock(mutex_);
  const absl::Duration pause = std::max(due - absl::Now(), absl::ZeroDuration());
  changed_.wait_for(lock, absl::ToChronoNanoseconds(pause), [this] { return stopping_.load(); });
}

}  // namespace fanmirror::apply
