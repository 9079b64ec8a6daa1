#include "simulation/user.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "simulation/failure.h"

namespace fanmirror::simulation {
namespace {

constexpr std::size_t kMaxDepth = 4;   // of directories below the root
constexpr std::size_t kMaxEntries = 40;
constexpr std::uint64_t kLargeBytes = 300'000;  // more than one piece of the reader

const std::vector<std::string> kNames = {"a", "b", "c", "d", "e", "f", "cache", "x.tmp"};

std::string ParentOf(const std::string& path) { return path.substr(0, path.rfind('/')); }
bool IsBelow(const std::string& path, const std::string& dir) { return path.starts_with(dir + "/"); }

// As the filter of the job has it.
bool IsExcluded(const std::string& path) {
  return path.starts_with("outside/") || path.starts_with("source/cache/") || path.find(".tmp") != std::string::npos;
}

std::string ReadAll(const std::string& path) {
  std::string content;
  const int fd = open(path.c_str(), O_RDONLY | O_NOATIME | O_CLOEXEC);
  Require(fd >= 0, "read " + path);
  std::array<char, 65'536> buffer;
  for (ssize_t got; (got = read(fd, buffer.data(), buffer.size())) > 0;) content.append(buffer.data(), got);
  close(fd);
  return content;
}

}  // namespace

User::User(std::string filesystem, Random* random) : filesystem_(std::move(filesystem)), random_(random) {
  for (const char* dir : {"source", "outside"}) {
    Require(mkdir(At(dir).c_str(), 0755) == 0, "make the source");
    StampPath(dir, Kernel::Stamped::kBoth);
  }
  Survey();
}

void User::Act() {
  // How often of a hundred.
  static constexpr std::pair<int, Kind> kKinds[] = {
      {16, &User::Create},      {8, &User::Append},      {3, &User::Truncate},  {4, &User::RewriteWithOldMtime},
      {6, &User::SaveByRename}, {8, &User::MakeDirectory}, {3, &User::MakeTree},  {7, &User::Remove},
      {3, &User::RemoveTree},   {3, &User::MakeSymlink}, {1, &User::MakeFifo},  {6, &User::Link},
      {12, &User::Rename},      {4, &User::Exchange},    {3, &User::MoveOut},   {3, &User::MoveIn},
      {3, &User::Chmod},        {1, &User::Chown},       {2, &User::SetXattr},  {1, &User::RemoveXattr},
      {3, &User::Utimens}};
  const SideScope scope(Side::kNobody);
  ++operations_;
  List();
  int at = static_cast<int>(random_->Below(100));
  for (const auto& [share, kind] : kKinds) {
    at -= share;
    if (at >= 0) continue;
    (this->*kind)();
    break;
  }
  Survey();
}

User::Past User::PastOf(const std::string& path) const {
  const auto it = pasts_.find(path);
  return it == pasts_.end() ? Past{} : it->second;
}

void User::List() {
  directories_ = {"source"};
  entries_.clear();
  files_.clear();
  outside_.clear();
  std::vector<std::string> stack = {"source", "outside"};
  while (!stack.empty()) {
    const std::string dir = stack.back();
    stack.pop_back();
    DIR* const stream = opendir(At(dir).c_str());
    Require(stream != nullptr, "list " + dir);
    while (const dirent* entry = readdir(stream)) {
      const std::string_view name = entry->d_name;
      if (name == "." || name == "..") continue;
      const std::string path = dir + "/" + entry->d_name;
      if (entry->d_type == DT_DIR) stack.push_back(path);
      if (!IsBelow(path, "source")) {
        if (dir == "outside") outside_.push_back(path);
        continue;
      }
      entries_.push_back(path);
      if (entry->d_type == DT_DIR) directories_.push_back(path);
      if (entry->d_type == DT_REG) files_.push_back(path);
    }
    closedir(stream);
  }
}

bool User::ChangedInside(const std::string& directory, std::uint64_t operation) const {
  const std::string below = directory.empty() ? "" : directory + "/";
  for (auto it = pasts_.lower_bound(below); it != pasts_.end() && it->first.starts_with(below); ++it) {
    const bool direct = it->first.size() > below.size() && it->first.find('/', below.size()) == std::string::npos;
    if (direct && it->second.changed > operation) return true;
  }
  return false;
}

// Compares what is at each path with what was.
void User::Survey() {
  std::map<std::string, std::uint64_t> now;
  std::vector<std::string> stack = {""};
  now[""] = Inode("source");
  while (!stack.empty()) {
    const std::string dir = stack.back();
    stack.pop_back();
    DIR* const stream = opendir(At(dir.empty() ? "source" : "source/" + dir).c_str());
    Require(stream != nullptr, "survey " + dir);
    while (const dirent* entry = readdir(stream)) {
      const std::string_view name = entry->d_name;
      if (name == "." || name == "..") continue;
      const std::string path = dir.empty() ? entry->d_name : dir + "/" + entry->d_name;
      now[path] = entry->d_ino;
      if (entry->d_type == DT_DIR) stack.push_back(path);
    }
    closedir(stream);
  }
  for (auto& [path, past] : pasts_) {
    if (past.inode == 0 || now.contains(path)) continue;
    past = {.inode = 0, .stamps = 0, .changed = operations_, .identity = operations_};
  }
  for (const auto& [path, inode] : now) {
    Past& past = pasts_[path];
    const std::uint64_t stamps = stamps_[inode];
    if (past.inode != inode) past.identity = operations_;
    if (past.inode != inode || past.stamps != stamps) past.changed = operations_;
    past.inode = inode;
    past.stamps = stamps;
  }
}

std::uint64_t User::Inode(const std::string& path) const {
  struct stat st {};
  return lstat(At(path).c_str(), &st) == 0 ? st.st_ino : 0;
}

void User::Stamp(std::uint64_t inode, Kernel::Stamped what) {
  if (inode == 0) return;
  ++stamps_[inode];
  Kernel::Get().Stamp(inode, what);
}

void User::StampParent(const std::string& path) { StampPath(ParentOf(path), Kernel::Stamped::kBoth); }

void User::Remember(const std::string& path) { contents_.insert(ReadAll(At(path))); }

std::string User::AnyDirectory() { return random_->Pick(directories_); }
std::string User::AnyPlace() { return AnyDirectory() + "/" + random_->Pick(kNames); }
std::string User::AnyEntry() { return entries_.empty() ? "" : random_->Pick(entries_); }
std::string User::AnyFile() { return files_.empty() ? "" : random_->Pick(files_); }

// An event names the link that was used: what is done to a file through a name that does not belong to the job is not
// seen under its other names, before a scan.
bool User::IsTold(const std::string& path) const {
  struct stat st {};
  return lstat(At(path).c_str(), &st) != 0 || S_ISDIR(st.st_mode) || st.st_nlink == 1 || !IsExcluded(path);
}

// No two are alike, so that a mixture of two is neither.
std::string User::NewContent() {
  if (random_->OneIn(12)) return "";
  std::string content = absl::StrCat("<", ++next_content_, ">");
  const std::size_t size = random_->OneIn(60) ? kLargeBytes : random_->Below(200);
  while (content.size() < size) absl::StrAppend(&content, next_content_, ",");
  return content;
}

void User::WriteFile(const std::string& path, const std::string& content) {
  if (!IsTold(path)) return;
  const bool is_new = Inode(path) == 0;
  const int fd = open(At(path).c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC,
                      random_->OneIn(4) ? 0600 : 0644);
  if (fd < 0) return;  // a directory, a symlink or a fifo
  Require(write(fd, content.data(), content.size()) == static_cast<ssize_t>(content.size()), "write " + path);
  close(fd);
  StampPath(path, Kernel::Stamped::kBoth);
  if (is_new) StampParent(path);
  Remember(path);
}

void User::Create() {
  const std::string path = AnyPlace();
  if (entries_.size() >= kMaxEntries && Inode(path) == 0) return;
  const std::string content = NewContent();
  Trace::Get().Add(absl::StrCat("user: writes ", path, " ", content.substr(0, 8)));
  WriteFile(path, content);
}

void User::Append() {
  const std::string path = AnyFile();
  if (path.empty() || !IsTold(path)) return;
  const int fd = open(At(path).c_str(), O_WRONLY | O_APPEND | O_CLOEXEC);
  const std::string more = absl::StrCat("+", ++next_content_);
  Trace::Get().Add(absl::StrCat("user: appends to ", path, " ", more));
  Require(fd >= 0 && write(fd, more.data(), more.size()) > 0, "append to " + path);
  close(fd);
  StampPath(path, Kernel::Stamped::kBoth);
  Remember(path);
}

void User::Truncate() {
  const std::string path = AnyFile();
  if (path.empty() || !IsTold(path)) return;
  const auto size = static_cast<off_t>(random_->Below(100));
  Trace::Get().Add(absl::StrCat("user: truncates ", path, " to ", size));
  Require(truncate(At(path).c_str(), size) == 0, "truncate " + path);
  StampPath(path, Kernel::Stamped::kBoth);
  Remember(path);
}

void User::RewriteWithOldMtime() {
  const std::string path = AnyFile();
  if (path.empty() || !IsTold(path) || !sets_times_) return;
  struct statx st {};
  Require(statx(AT_FDCWD, At(path).c_str(), AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &st) == 0, "statx " + path);
  if (st.stx_size == 0) return;
  Kernel::Get().GiveTimes(&st);
  std::string content = NewContent();
  content.resize(st.stx_size, '~');
  Trace::Get().Add(absl::StrCat("user: rewrites ", path, ", size and mtime stay"));
  const int fd = open(At(path).c_str(), O_WRONLY | O_CLOEXEC);
  const timespec times[2] = {{0, UTIME_OMIT}, {st.stx_mtime.tv_sec, st.stx_mtime.tv_nsec}};
  Require(fd >= 0 && write(fd, content.data(), content.size()) > 0 && futimens(fd, times) == 0, "rewrite " + path);
  close(fd);
  StampPath(path, Kernel::Stamped::kCtime);
  Remember(path);
}

void User::SaveByRename() {
  const std::string path = AnyFile();
  if (path.empty()) return;
  const std::string draft = ParentOf(path) + "/" + (random_->OneIn(2) ? "x.tmp" : "f");
  if (Inode(draft) != 0) return;
  Trace::Get().Add(absl::StrCat("user: saves ", path, " by renaming ", draft, " over it"));
  WriteFile(draft, NewContent());
  MoveTo(draft, path, 0);
}

void User::MakeDirectory() {
  const std::string path = AnyPlace();
  if (path.size() > 6 + 2 * kMaxDepth + 6 || entries_.size() >= kMaxEntries) return;
  if (mkdir(At(path).c_str(), random_->OneIn(4) ? 0700 : 0755) != 0) return;
  Trace::Get().Add(absl::StrCat("user: makes the directory ", path));
  StampPath(path, Kernel::Stamped::kBoth);
  StampParent(path);
}

void User::MakeTree() {
  const std::string path = AnyPlace();
  if (path.size() > 6 + 2 * kMaxDepth || entries_.size() >= kMaxEntries || mkdir(At(path).c_str(), 0755) != 0) return;
  Trace::Get().Add(absl::StrCat("user: makes the tree ", path));
  StampParent(path);
  for (const char* name : {"/a", "/b"}) WriteFile(path + name, NewContent());
  Require(mkdir(At(path + "/c").c_str(), 0755) == 0, "make " + path);
  StampPath(path, Kernel::Stamped::kBoth);
  StampPath(path + "/c", Kernel::Stamped::kBoth);
  WriteFile(path + "/c/d", NewContent());
}

void User::Remove() {
  const std::string path = AnyEntry();
  if (path.empty()) return;
  const std::uint64_t inode = Inode(path);
  if (remove(At(path).c_str()) != 0) return;  // a directory that is not empty
  Trace::Get().Add(absl::StrCat("user: removes ", path));
  Stamp(inode, Kernel::Stamped::kCtime);
  StampParent(path);
}

void User::RemoveRecursively(const std::string& path) {
  for (const std::string& below : entries_) {
    if (IsBelow(below, path) && ParentOf(below) == path) RemoveRecursively(below);
  }
  const std::uint64_t inode = Inode(path);
  Require(remove(At(path).c_str()) == 0, "remove " + path);
  Stamp(inode, Kernel::Stamped::kCtime);
  StampParent(path);
}

void User::RemoveTree() {
  const std::string path = AnyDirectory();
  if (path == "source") return;
  Trace::Get().Add(absl::StrCat("user: removes the tree ", path));
  RemoveRecursively(path);
}

void User::MakeSymlink() {
  const std::string path = AnyPlace();
  if (entries_.size() >= kMaxEntries || symlink(random_->Pick(kNames).c_str(), At(path).c_str()) != 0) return;
  Trace::Get().Add(absl::StrCat("user: makes the symlink ", path));
  StampPath(path, Kernel::Stamped::kBoth);
  StampParent(path);
}

void User::MakeFifo() {
  const std::string path = AnyPlace();
  if (entries_.size() >= kMaxEntries || mkfifo(At(path).c_str(), 0644) != 0) return;
  Trace::Get().Add(absl::StrCat("user: makes the fifo ", path));
  StampPath(path, Kernel::Stamped::kBoth);
  StampParent(path);
}

void User::Link() {
  const std::string from = AnyFile();
  const std::string to = AnyPlace();
  if (from.empty() || entries_.size() >= kMaxEntries || link(At(from).c_str(), At(to).c_str()) != 0) return;
  Trace::Get().Add(absl::StrCat("user: links ", from, " to ", to));
  StampPath(to, Kernel::Stamped::kCtime);
  StampParent(to);
}

void User::MoveTo(const std::string& from, const std::string& to, unsigned flags) {
  const std::uint64_t over = Inode(to);
  const std::uint64_t moved = Inode(from);
  if (renameat2(AT_FDCWD, At(from).c_str(), AT_FDCWD, At(to).c_str(), flags) != 0) return;
  Trace::Get().Add(absl::StrCat("user: ", flags == 0 ? "renames " : "exchanges ", from, " to ", to));
  if (moved == over) return;  // two links of one file: nothing happens
  Stamp(moved, Kernel::Stamped::kCtime);
  Stamp(over, Kernel::Stamped::kCtime);
  StampParent(from);
  StampParent(to);
}

void User::Rename() {
  const std::string from = AnyEntry();
  if (!from.empty()) MoveTo(from, AnyPlace(), 0);
}

void User::Exchange() {
  const std::string from = AnyEntry();
  const std::string to = AnyEntry();
  if (!from.empty() && from != to) MoveTo(from, to, RENAME_EXCHANGE);
}

void User::MoveOut() {
  const std::string from = AnyEntry();
  if (!from.empty()) MoveTo(from, "outside/" + random_->Pick(kNames), 0);
}

void User::MoveIn() {
  if (!outside_.empty()) MoveTo(random_->Pick(outside_), AnyPlace(), 0);
}

void User::Chmod() {
  const std::string path = random_->OneIn(8) ? "source" : AnyEntry();
  if (path.empty() || entries_.empty() || !IsTold(path)) return;
  struct stat st {};
  if (lstat(At(path).c_str(), &st) != 0 || S_ISLNK(st.st_mode)) return;
  const mode_t mode = random_->Pick(std::vector<mode_t>{0600, 0644, 0700, 0755, 0711});
  Trace::Get().Add(absl::StrCat("user: chmod ", path));
  Require(chmod(At(path).c_str(), mode) == 0, "chmod " + path);
  StampPath(path, Kernel::Stamped::kCtime);
}

void User::Chown() {
  const std::string path = AnyEntry();
  if (path.empty() || !IsTold(path)) return;
  Trace::Get().Add(absl::StrCat("user: chown ", path));
  Require(lchown(At(path).c_str(), static_cast<uid_t>(random_->Below(3)), static_cast<gid_t>(random_->Below(3))) == 0,
          "chown " + path);
  StampPath(path, Kernel::Stamped::kCtime);
}

void User::SetXattr() {
  const std::string path = AnyEntry();
  if (path.empty() || !IsTold(path)) return;
  const std::string name = random_->OneIn(2) ? "trusted.note" : "trusted.other";
  const std::string value = absl::StrCat("value ", random_->Below(100));
  if (lsetxattr(At(path).c_str(), name.c_str(), value.data(), value.size(), 0) != 0) return;
  Trace::Get().Add(absl::StrCat("user: sets an attribute of ", path));
  StampPath(path, Kernel::Stamped::kCtime);
}

void User::RemoveXattr() {
  const std::string path = AnyEntry();
  if (path.empty() || !IsTold(path) || lremovexattr(At(path).c_str(), "trusted.note") != 0) return;
  Trace::Get().Add(absl::StrCat("user: removes an attribute of ", path));
  StampPath(path, Kernel::Stamped::kCtime);
}

void User::Utimens() {
  const std::string path = AnyEntry();
  if (path.empty() || !IsTold(path) || !sets_times_) return;
  const timespec mtime{static_cast<time_t>(1'600'000'000 + random_->Below(5)), static_cast<long>(random_->Below(2))};
  const timespec times[2] = {{0, UTIME_OMIT}, mtime};
  Require(utimensat(AT_FDCWD, At(path).c_str(), times, AT_SYMLINK_NOFOLLOW) == 0, "utimensat " + path);
  Trace::Get().Add(absl::StrCat("user: sets the time of ", path));
  StampPath(path, Kernel::Stamped::kCtime);
  Kernel::Get().SetMtime(Inode(path), mtime);
}

}  // namespace fanmirror::simulation
