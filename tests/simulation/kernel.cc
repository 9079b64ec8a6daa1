#include "simulation/kernel.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <lmdb.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>

#include <cerrno>
#include <cstdarg>
#include <cstring>

#include "absl/base/config.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace fanmirror::simulation {
namespace {

constexpr std::int64_t kNsPerSecond = 1'000'000'000;
// Each reading of a clock takes so long: whoever waits by reading it comes to an end.
constexpr std::int64_t kReadingNs = 1'000;
// What CLOCK_REALTIME says at the start of every run.
constexpr std::int64_t kEpochNs = 1'700'000'000 * kNsPerSecond;
constexpr std::int64_t kBootNs = 1'000 * kNsPerSecond;

timespec ToTimespec(std::int64_t ns) { return {ns / kNsPerSecond, ns % kNsPerSecond}; }

// The function of that name in the library behind us.
template <typename Function>
Function* Real(Function*, const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

}  // namespace

Kernel& Kernel::Get() {
  static Kernel kernel;
  return kernel;
}

void Kernel::Activate(std::uint64_t seed) {
  active_ = true;
  random_ = Random(seed);
  now_ns_ = kBootNs;
}

void Kernel::FillRandom(unsigned char* bytes, std::size_t size) {
  for (std::size_t at = 0; at < size; ++at) bytes[at] = static_cast<unsigned char>(random_.Next());
}

std::int64_t Kernel::realtime_ns() const { return kEpochNs + now_ns_; }

timespec Kernel::ReadClock(clockid_t clock) {
  now_ns_ += kReadingNs;
  return ToTimespec(clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE ? realtime_ns() : now_ns_);
}

void Kernel::Stamp(std::uint64_t inode, Stamped what) {
  const timespec tick = ToTimespec(realtime_ns() / kTickNs * kTickNs);
  Times& times = times_[inode];
  times.ctime = tick;
  if (what == Stamped::kBoth) times.mtime = tick;
}

void Kernel::SetMtime(std::uint64_t inode, timespec mtime) { times_[inode].mtime = mtime; }

void Kernel::GiveTimes(struct statx* st) const {
  const auto it = times_.find(st->stx_ino);
  if (it == times_.end()) return;
  st->stx_ctime = {it->second.ctime.tv_sec, static_cast<std::uint32_t>(it->second.ctime.tv_nsec), 0};
  st->stx_mtime = {it->second.mtime.tv_sec, static_cast<std::uint32_t>(it->second.mtime.tv_nsec), 0};
}

void Kernel::HideRealTimes(struct statx* st) {
  constexpr std::int64_t kRealSeconds = kEpochNs / kNsPerSecond + 50'000'000;  // no simulated time is later
  for (statx_timestamp* time : {&st->stx_mtime, &st->stx_ctime, &st->stx_btime, &st->stx_atime}) {
    if (time->tv_sec >= kRealSeconds) *time = {kRealSeconds, 0, 0};
  }
}

std::uint64_t Kernel::VirtualInode(std::uint64_t inode) {
  const auto [it, added] = virtual_of_.try_emplace(inode, virtual_of_.size() + 1);
  if (added) real_of_[it->second] = inode;
  return it->second;
}

std::optional<std::uint64_t> Kernel::RealInode(std::uint64_t virtual_inode) const {
  const auto it = real_of_.find(virtual_inode);
  return it == real_of_.end() ? std::nullopt : std::optional(it->second);
}

void Kernel::HideHandle(unsigned char* handle) {
  std::uint32_t generation = 0;
  std::uint64_t inode = 0;
  std::memcpy(&generation, handle, sizeof generation);
  std::memcpy(&inode, handle + sizeof generation, sizeof inode);
  const std::uint64_t hidden = VirtualInode(inode);
  generation_of_[hidden] = generation;
  std::memset(handle, 0, sizeof generation);
  std::memcpy(handle + sizeof generation, &hidden, sizeof hidden);
}

bool Kernel::ShowHandle(unsigned char* handle) const {
  std::uint64_t hidden = 0;
  std::memcpy(&hidden, handle + sizeof(std::uint32_t), sizeof hidden);
  const auto generation = generation_of_.find(hidden);
  const auto inode = real_of_.find(hidden);
  if (generation == generation_of_.end() || inode == real_of_.end()) return false;
  std::memcpy(handle, &generation->second, sizeof generation->second);
  std::memcpy(handle + sizeof generation->second, &inode->second, sizeof inode->second);
  return true;
}

namespace {

// Whether the source's process sees nothing but this errno.
bool LookFails(const char* call) {
  Kernel& kernel = Kernel::Get();
  if (kernel.side != Side::kSource || !kernel.before_look) return false;
  const int error = kernel.before_look(call);
  if (error != 0) errno = error;
  return error != 0;
}

bool ChangeFails(const char* call, const char* name) {
  Kernel& kernel = Kernel::Get();
  if (kernel.side != Side::kTarget || !kernel.before_change) return false;
  const int error = kernel.before_change(call, name);
  if (error != 0) errno = error;
  return error != 0;
}

int SyncTarget() {
  Kernel& kernel = Kernel::Get();
  if (kernel.side != Side::kTarget || !kernel.sync) return 0;
  const int error = kernel.sync();
  if (error != 0) errno = error;
  return error == 0 ? 0 : -1;
}

}  // namespace
}  // namespace fanmirror::simulation

using fanmirror::simulation::ChangeFails;
using fanmirror::simulation::Kernel;
using fanmirror::simulation::LookFails;
using fanmirror::simulation::Real;
using fanmirror::simulation::Side;
using fanmirror::simulation::SyncTarget;

#define REAL(name) static auto* const real = Real(&(name), #name)

// abseil reckons between readings of the clock by the processor's counter: that is no simulated time.
namespace absl {
ABSL_NAMESPACE_BEGIN
std::int64_t GetCurrentTimeNanos() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}
Time Now() { return FromUnixNanos(GetCurrentTimeNanos()); }
ABSL_NAMESPACE_END
}  // namespace absl

// The functions of libc and liblmdb, as the program under test meets them.
extern "C" {

// What the program draws by chance follows from the seed, too: instance ids, numbers of foreign nodes.

ssize_t getrandom(void* bytes, size_t size, unsigned flags) {
  REAL(getrandom);
  if (!Kernel::Get().active()) return real(bytes, size, flags);
  Kernel::Get().FillRandom(static_cast<unsigned char*>(bytes), size);
  return static_cast<ssize_t>(size);
}

int getentropy(void* bytes, size_t size) {
  return getrandom(bytes, size, 0) == static_cast<ssize_t>(size) ? 0 : -1;
}

int clock_gettime(clockid_t clock, timespec* out) noexcept {
  REAL(clock_gettime);
  if (!Kernel::Get().active() || clock == CLOCK_PROCESS_CPUTIME_ID) return real(clock, out);
  *out = Kernel::Get().ReadClock(clock);
  return 0;
}

// What the source's process sees of its tree.

int statx(int dir, const char* name, int flags, unsigned mask, struct statx* out) noexcept {
  REAL(statx);
  if (LookFails("statx")) return -1;
  const int rc = real(dir, name, flags, mask, out);
  if (rc == 0 && Kernel::Get().side == Side::kTarget) Kernel::HideRealTimes(out);
  if (rc != 0 || Kernel::Get().side != Side::kSource) return rc;
  Kernel::Get().GiveTimes(out);
  out->stx_ino = Kernel::Get().VirtualInode(out->stx_ino);
  return rc;
}

int name_to_handle_at(int dir, const char* name, file_handle* handle, int* mount, int flags) noexcept {
  REAL(name_to_handle_at);
  if (LookFails("name_to_handle_at")) return -1;
  const int rc = real(dir, name, handle, mount, flags);
  if (rc == 0 && Kernel::Get().side == Side::kSource) Kernel::Get().HideHandle(handle->f_handle);
  return rc;
}

int open_by_handle_at(int mount, file_handle* handle, int flags) {
  REAL(open_by_handle_at);
  if (LookFails("open_by_handle_at")) return -1;
  if (Kernel::Get().side != Side::kSource) return real(mount, handle, flags);
  alignas(file_handle) unsigned char copy[sizeof(file_handle) + MAX_HANDLE_SZ];
  std::memcpy(copy, handle, sizeof(file_handle) + handle->handle_bytes);
  auto* const shown = reinterpret_cast<file_handle*>(copy);
  if (Kernel::Get().ShowHandle(shown->f_handle)) return real(mount, shown, flags);
  errno = ESTALE;
  return -1;
}

ssize_t preadv2(int fd, const iovec* places, int count, off_t offset, int flags) {
  REAL(preadv2);
  if (LookFails("preadv2")) return -1;
  return real(fd, places, count, offset, flags);
}

long syscall(long number, ...) noexcept {
  REAL(syscall);
  va_list arguments;
  va_start(arguments, number);
  long a[6];
  for (long& each : a) each = va_arg(arguments, long);
  va_end(arguments);
  if (number == SYS_getdents64 && LookFails("getdents64")) return -1;
  return real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

// What the receiver changes.

int openat(int dir, const char* name, int flags, ...) {
  REAL(openat);
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(arguments, mode_t) : 0;
  va_end(arguments);
  if ((flags & O_CREAT) != 0 && ChangeFails("openat", name)) return -1;
  return real(dir, name, flags, mode);
}

int renameat(int from_dir, const char* from, int to_dir, const char* to) noexcept {
  REAL(renameat);
  return ChangeFails("renameat", to) ? -1 : real(from_dir, from, to_dir, to);
}

int renameat2(int from_dir, const char* from, int to_dir, const char* to, unsigned flags) noexcept {
  REAL(renameat2);
  return ChangeFails("renameat2", to) ? -1 : real(from_dir, from, to_dir, to, flags);
}

int linkat(int from_dir, const char* from, int to_dir, const char* to, int flags) noexcept {
  REAL(linkat);
  return ChangeFails("linkat", to) ? -1 : real(from_dir, from, to_dir, to, flags);
}

int unlinkat(int dir, const char* name, int flags) noexcept {
  REAL(unlinkat);
  return ChangeFails("unlinkat", name) ? -1 : real(dir, name, flags);
}

int symlinkat(const char* target, int dir, const char* name) noexcept {
  REAL(symlinkat);
  return ChangeFails("symlinkat", name) ? -1 : real(target, dir, name);
}

int mkdirat(int dir, const char* name, mode_t mode) noexcept {
  REAL(mkdirat);
  return ChangeFails("mkdirat", name) ? -1 : real(dir, name, mode);
}

int mknodat(int dir, const char* name, mode_t mode, dev_t device) noexcept {
  REAL(mknodat);
  return ChangeFails("mknodat", name) ? -1 : real(dir, name, mode, device);
}

ssize_t pwrite(int fd, const void* bytes, size_t size, off_t offset) {
  REAL(pwrite);
  return ChangeFails("pwrite", "") ? -1 : real(fd, bytes, size, offset);
}

int ftruncate(int fd, off_t size) noexcept {
  REAL(ftruncate);
  return ChangeFails("ftruncate", "") ? -1 : real(fd, size);
}

int fchownat(int dir, const char* name, uid_t user, gid_t group, int flags) noexcept {
  REAL(fchownat);
  return ChangeFails("fchownat", name) ? -1 : real(dir, name, user, group, flags);
}

int chmod(const char* path, mode_t mode) noexcept {
  REAL(chmod);
  return ChangeFails("chmod", "") ? -1 : real(path, mode);
}

int utimensat(int dir, const char* name, const timespec times[2], int flags) noexcept {
  REAL(utimensat);
  return ChangeFails("utimensat", name) ? -1 : real(dir, name, times, flags);
}

int setxattr(const char* path, const char* name, const void* value, size_t size, int flags) noexcept {
  REAL(setxattr);
  return ChangeFails("setxattr", "") ? -1 : real(path, name, value, size, flags);
}

int removexattr(const char* path, const char* name) noexcept {
  REAL(removexattr);
  return ChangeFails("removexattr", "") ? -1 : real(path, name);
}

int sync_file_range(int fd, off_t, off_t, unsigned flags) {
  Kernel& kernel = Kernel::Get();
  if ((flags & SYNC_FILE_RANGE_WAIT_AFTER) == 0 || kernel.side != Side::kTarget || !kernel.write_out) return 0;
  const int error = kernel.write_out(fd);
  if (error != 0) errno = error;
  return error == 0 ? 0 : -1;
}

int syncfs(int fd) noexcept {
  static_cast<void>(fd);  // memory needs none
  return SyncTarget();
}

// A journal that is forced holds all that was done before.
int fsync(int fd) {
  static_cast<void>(fd);
  return SyncTarget();
}

int mdb_txn_commit(MDB_txn* transaction) {
  REAL(mdb_txn_commit);
  Kernel& kernel = Kernel::Get();
  if (!kernel.commit) return real(transaction);
  if (const int error = kernel.commit(/*after=*/false)) {
    mdb_txn_abort(transaction);
    return error;
  }
  const int rc = real(transaction);
  kernel.commit(/*after=*/true);
  return rc;
}

}  // extern "C"
