// simulation --count N [--first S] [--jobs J]   runs the seeds S..S+N-1, each in a process of its own
// simulation --seed S [--verbose]               runs one seed; --verbose: shows all that happens
// simulation --kept                             runs the seeds that once failed
#include <sched.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "simulation/failure.h"
#include "simulation/kept_seeds.h"
#include "simulation/kernel.h"
#include "simulation/world.h"

namespace fanmirror::simulation {
namespace {

constexpr unsigned kPatienceSeconds = 120;  // for one seed, on a machine that has much else to do
constexpr int kSkipped = 77;  // what ctest takes for a skipped test
// Where each run has its filesystems, in a mount namespace of its own: the paths that a run sees are always the same.
const std::string kDirectory = "/mnt";

struct Arguments {
  std::vector<std::uint64_t> seeds;
  unsigned jobs = std::max(1U, std::thread::hardware_concurrency());
  bool verbose = false;
  bool hashes = false;  // prints a hash of what happened in each run
};

bool TakeNumber(int argc, char** argv, int* at, std::uint64_t* number) {
  return ++*at < argc && absl::SimpleAtoi(argv[*at], number);
}

bool Parse(int argc, char** argv, Arguments* arguments) {
  std::uint64_t first = 1;
  std::uint64_t count = 0;
  for (int at = 1; at < argc; ++at) {
    const std::string word = argv[at];
    std::uint64_t number = 0;
    if (word == "--verbose") {
      arguments->verbose = true;
    } else if (word == "--hashes") {
      arguments->hashes = true;
    } else if (word == "--kept") {
      arguments->seeds.insert(arguments->seeds.end(), std::begin(kKeptSeeds), std::end(kKeptSeeds));
    } else if (!TakeNumber(argc, argv, &at, &number)) {
      return false;
    } else if (word == "--count") {
      count = number;
    } else if (word == "--first") {
      first = number;
    } else if (word == "--jobs") {
      arguments->jobs = static_cast<unsigned>(std::max<std::uint64_t>(1, number));
    } else if (word == "--seed") {
      arguments->seeds.push_back(number);
    } else {
      return false;
    }
  }
  for (std::uint64_t seed = first; seed < first + count; ++seed) arguments->seeds.push_back(seed);
  return !arguments->seeds.empty();
}

// Addresses decide the order in hash tables: they have to be the same in every run.
void FixAddresses(char** argv) {
  const int now = personality(0xffffffff);
  if (now == -1 || (now & ADDR_NO_RANDOMIZE) != 0) return;
  if (personality(static_cast<unsigned long>(now) | ADDR_NO_RANDOMIZE) == -1) return;
  execv("/proc/self/exe", argv);
}

[[noreturn]] void RunSeed(std::uint64_t seed, const Arguments& arguments) {
  for (const char* side : {"source", "target"}) {
    const std::string path = kDirectory + "/" + side;
    Require(mount("tmpfs", path.c_str(), "tmpfs", 0, "size=64m") == 0, "mount " + path);
  }
  Trace::Get().Begin(seed, arguments.verbose);
  Kernel::Get().Activate(seed);
  umask(0);
  alarm(kPatienceSeconds);
  World(kDirectory, seed).Run();
  if (arguments.hashes) std::printf("seed %lu: %016lx\n", seed, Trace::Get().hash());
  std::fflush(stdout);
  _exit(0);
}

// One seed after the other, each in a process of its own: it leaves nothing behind.
[[noreturn]] void RunSome(std::size_t at, const Arguments& arguments) {
  Require(unshare(CLONE_NEWNS) == 0 && mount("", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
              mount("tmpfs", kDirectory.c_str(), "tmpfs", 0, nullptr) == 0,
          "mount " + kDirectory);
  for (const char* side : {"source", "target"}) mkdir((kDirectory + "/" + side).c_str(), 0755);
  int failed = 0;
  for (; at < arguments.seeds.size(); at += arguments.jobs) {
    const pid_t child = fork();
    if (child == 0) RunSeed(arguments.seeds[at], arguments);
    int status = 0;
    while (waitpid(child, &status, 0) < 0) {
    }
    for (const char* side : {"source", "target"}) umount2((kDirectory + "/" + side).c_str(), MNT_DETACH);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) continue;
    if (WIFSIGNALED(status)) {
      std::printf("seed %lu FAILED: died of signal %d (%s)\n", arguments.seeds[at], WTERMSIG(status), strsignal(WTERMSIG(status)));
      std::fflush(stdout);
    }
    ++failed;
  }
  _exit(std::min(failed, 100));
}

int Main(int argc, char** argv) {
  Arguments arguments;
  if (!Parse(argc, argv, &arguments)) {
    std::fprintf(stderr, "usage: simulation (--count N [--first S] | --seed S | --kept) [--jobs J] [--verbose] [--hashes]\n");
    return 2;
  }
  if (geteuid() != 0) {
    std::fprintf(stderr, "skipped: simulating needs root, for filesystems and file events of its own\n");
    return kSkipped;
  }
  std::vector<pid_t> workers;
  for (unsigned job = 0; job < arguments.jobs; ++job) {
    const pid_t worker = fork();
    if (worker == 0) RunSome(job, arguments);
    workers.push_back(worker);
  }
  int failed = 0;
  for (const pid_t worker : workers) {
    int status = 0;
    while (waitpid(worker, &status, 0) < 0) {
    }
    failed += WIFEXITED(status) ? WEXITSTATUS(status) : 1;
  }
  std::printf("%zu seeds, %d failed\n", arguments.seeds.size(), failed);
  return failed == 0 ? 0 : 1;
}

}  // namespace
}  // namespace fanmirror::simulation

int main(int argc, char** argv) {
  fanmirror::simulation::FixAddresses(argv);
  return fanmirror::simulation::Main(argc, argv);
}
