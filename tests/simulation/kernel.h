#pragma once

#include <sys/stat.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <unordered_map>

#include "simulation/random.h"

namespace fanmirror::simulation {

// Who makes a system call.
enum class Side {
  kNobody,  // the simulation itself and the people who work in the source: sees and does what really is
  kSource,  // the source's process
  kTarget   // the receiver
};

// What stands between the program and the kernel: this test program defines clock_gettime, statx, renameat and others
// itself (kernel.cc), so that the program under test needs no seam for time and for failures of its system calls.
//
// Time stands still but for what Advance and each reading of a clock add. Nodes of the source have the times of that
// clock, in ticks as a kernel has them, and handles and inode numbers that are counted from 1: so a run depends on its
// seed alone. One thread.
class Kernel {
 public:
  static constexpr std::int64_t kTickNs = 4'000'000;  // HZ=250

  static Kernel& Get();
  // From here on time is simulated, and what is drawn by chance.
  void Activate(std::uint64_t seed);
  bool active() const { return active_; }

  std::int64_t now_ns() const { return now_ns_; }  // since boot
  void Advance(std::int64_t ns) { now_ns_ += ns; }
  std::int64_t realtime_ns() const;
  timespec ReadClock(clockid_t clock);

  void FillRandom(unsigned char* bytes, std::size_t size);

  // Nodes of the source, by their real inode number.
  enum class Stamped { kCtime, kBoth };
  void Stamp(std::uint64_t inode, Stamped what);
  void SetMtime(std::uint64_t inode, timespec mtime);
  // Overwrites the times of a real statx of a node of the source.
  void GiveTimes(struct statx* st) const;
  // Makes times that the real clock gave (on the target, until the source's are set) all alike.
  static void HideRealTimes(struct statx* st);
  std::uint64_t VirtualInode(std::uint64_t inode);
  std::optional<std::uint64_t> RealInode(std::uint64_t virtual_inode) const;
  // Of a handle of tmpfs: generation, inode in two halves. False: not known, nothing was changed.
  void HideHandle(unsigned char* handle);
  bool ShowHandle(unsigned char* handle) const;

  Side side = Side::kNobody;
  // The source's process is about to look at its tree. An errno instead of what it would see, or 0.
  std::function<int(const char* call)> before_look;
  // The receiver is about to change something; `name` is the last component that it changes, if known. An errno, and
  // nothing is changed, or 0.
  std::function<int(const char* call, const char* name)> before_change;
  // The receiver waits until the data of an open file is on the disk. An errno or 0.
  std::function<int(int fd)> write_out;
  // The receiver makes all durable that is there. An errno or 0.
  std::function<int()> sync;
  // The source's process commits to a store: called before, and `after` it was done. Before: LMDB's error, and nothing is
  // committed, or 0.
  std::function<int(bool after)> commit;

 private:
  struct Times {
    timespec ctime{};
    timespec mtime{};
  };
  bool active_ = false;
  Random random_{0};
  std::int64_t now_ns_ = 0;
  std::unordered_map<std::uint64_t, Times> times_;
  std::unordered_map<std::uint64_t, std::uint64_t> virtual_of_;
  std::unordered_map<std::uint64_t, std::uint64_t> real_of_;
  std::unordered_map<std::uint64_t, std::uint32_t> generation_of_;  // by virtual number
};

// For as long as it lives, system calls are made by `side`.
class SideScope {
 public:
  explicit SideScope(Side side) : before_(Kernel::Get().side) { Kernel::Get().side = side; }
  ~SideScope() { Kernel::Get().side = before_; }
  SideScope(const SideScope&) = delete;
  SideScope& operator=(const SideScope&) = delete;

 private:
  Side before_;
};

}  // namespace fanmirror::simulation
