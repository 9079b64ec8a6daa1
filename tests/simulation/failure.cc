#include "simulation/failure.h"

#include <unistd.h>

#include <cstdio>

#include "absl/strings/str_cat.h"
#include "simulation/kernel.h"

namespace fanmirror::simulation {
namespace {

constexpr std::size_t kTailBytes = 6'000;

void Show(const std::string& text) {
  static_cast<void>(write(STDOUT_FILENO, text.data(), text.size()));
}

}  // namespace

Trace& Trace::Get() {
  static Trace trace;
  return trace;
}

void Trace::Begin(std::uint64_t seed, bool verbose) {
  seed_ = seed;
  verbose_ = verbose;
  hash_ = 1469598103934665603ULL;
  text_.clear();
}

void Trace::Add(std::string_view line) {
  const std::int64_t now = Kernel::Get().now_ns();
  const std::string stamped = absl::StrCat(absl::Dec(now / 1'000'000'000), ".", absl::Dec(now / 1'000 % 1'000'000, absl::kZeroPad6),
                                           " ", std::string(line), "\n");
  for (const char c : stamped) hash_ = (hash_ ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
  text_ += stamped;
  if (verbose_) Show(stamped);
}

std::string Trace::Tail() const {
  return text_.size() <= kTailBytes ? text_ : "...\n" + text_.substr(text_.size() - kTailBytes);
}

void Fail(std::string_view what) {
  const Trace& trace = Trace::Get();
  Show(absl::StrCat("seed ", trace.seed(), " FAILED: ", std::string(what), "\n", trace.Tail(), "seed ", trace.seed(), " FAILED: ",
                    std::string(what), "\n  to see it again: scripts/simulate --seed ", trace.seed(), "\n"));
  _exit(1);
}

}  // namespace fanmirror::simulation
