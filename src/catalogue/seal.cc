#include "catalogue/seal.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "model/failure.h"

namespace fanmirror::catalogue {
namespace {

constexpr char kDoubt[] = "doubt\n";

std::string SealPath(const std::string& dir) { return dir + "/seal"; }

}  // namespace

std::string DescribeData(const std::string& dir) {
  struct stat data {};
  if (::stat((dir + "/data.mdb").c_str(), &data) != 0) return "";
  return absl::StrCat("closed ", data.st_ino, " ", data.st_size, " ", data.st_mtim.tv_sec, ".", data.st_mtim.tv_nsec, " ",
                      data.st_ctim.tv_sec, ".", data.st_ctim.tv_nsec, "\n");
}

Seal ReadSeal(const std::string& dir) {
  std::ifstream in(SealPath(dir));
  std::ostringstream text;
  text << in.rdbuf();
  if (text.str() == kDoubt) return Seal::kDoubt;
  const std::string data = DescribeData(dir);
  return !data.empty() && text.str() == data ? Seal::kClosed : Seal::kNone;
}

absl::Status BreakSeal(const std::string& dir) {
  const std::string path = SealPath(dir);
  if (::unlink(path.c_str()) == 0 || errno == ENOENT) return absl::OkStatus();
  return model::SystemFailure(model::Reaction::kHaltJob, "unlink", path, errno, "check the disk it is on");
}

void WriteSeal(const std::string& dir, bool doubt) {
  std::ofstream out(SealPath(dir), std::ios::trunc);
  out << (doubt ? std::string(kDoubt) : DescribeData(dir)) << std::flush;
}

}  // namespace fanmirror::catalogue
