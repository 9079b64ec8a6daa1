#include "simulation/image.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "model/path.h"
#include "simulation/failure.h"
#include "simulation/kernel.h"

namespace fanmirror::simulation {
namespace {

std::string ContentOf(const std::string& path, std::size_t size) {
  std::string content(size, '\0');
  const int fd = open(path.c_str(), O_RDONLY | O_NOATIME | O_CLOEXEC);
  Require(fd >= 0 && pread(fd, content.data(), size, 0) == static_cast<ssize_t>(size), "read " + path);
  close(fd);
  return content;
}

std::map<std::string, std::string> XattrsOf(const std::string& path) {
  std::map<std::string, std::string> xattrs;
  std::array<char, 1024> names;
  std::array<char, 1024> value;
  const ssize_t size = llistxattr(path.c_str(), names.data(), names.size());
  for (ssize_t at = 0; at < size;) {
    const std::string name = names.data() + at;
    at += static_cast<ssize_t>(name.size()) + 1;
    const ssize_t length = lgetxattr(path.c_str(), name.c_str(), value.data(), value.size());
    if (length >= 0) xattrs[name] = std::string(value.data(), static_cast<std::size_t>(length));
  }
  return xattrs;
}

bool Same(const timespec& one, const timespec& other) {
  return one.tv_sec == other.tv_sec && one.tv_nsec == other.tv_nsec;
}

timespec ToTimespec(const statx_timestamp& time) { return {time.tv_sec, time.tv_nsec}; }

void MakeNode(const std::string& path, const ImageNode& node) {
  bool made = false;
  if (S_ISDIR(node.mode)) {
    made = mkdir(path.c_str(), 0700) == 0;
  } else if (S_ISLNK(node.mode)) {
    made = symlink(node.content.c_str(), path.c_str()) == 0;
  } else if (S_ISREG(node.mode)) {
    const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    made = fd >= 0 && write(fd, node.content.data(), node.content.size()) == static_cast<ssize_t>(node.content.size());
    close(fd);
  } else {
    made = mknod(path.c_str(), node.mode, 0) == 0;
  }
  Require(made, "make " + path);
}

void Dress(const std::string& path, const ImageNode& node) {
  static_cast<void>(lchown(path.c_str(), node.uid, node.gid));
  if (!S_ISLNK(node.mode)) chmod(path.c_str(), node.mode & 07777);
  for (const auto& [name, value] : node.xattrs) {
    lsetxattr(path.c_str(), name.c_str(), value.data(), value.size(), 0);
  }
  const timespec times[2] = {{0, UTIME_OMIT}, node.mtime};
  utimensat(AT_FDCWD, path.c_str(), times, AT_SYMLINK_NOFOLLOW);
}

}  // namespace

bool ImageNode::IsDirectory() const { return S_ISDIR(mode); }
bool ImageNode::IsRegular() const { return S_ISREG(mode); }

std::string ImageNode::DifferenceTo(const ImageNode& other) const {
  std::string text;
  if (mode != other.mode) absl::StrAppend(&text, " mode ", absl::Hex(mode), "/", absl::Hex(other.mode));
  if (uid != other.uid || gid != other.gid) absl::StrAppend(&text, " owner ", uid, ".", gid, "/", other.uid, ".", other.gid);
  if (!Same(mtime, other.mtime)) {
    absl::StrAppend(&text, " mtime ", mtime.tv_sec, ".", mtime.tv_nsec, "/", other.mtime.tv_sec, ".", other.mtime.tv_nsec);
  }
  if (content != other.content) {
    absl::StrAppend(&text, " content '", content.substr(0, 12), "'.", content.size(), "/'", other.content.substr(0, 12),
                    "'.", other.content.size());
  }
  if (xattrs != other.xattrs) absl::StrAppend(&text, " xattrs ", xattrs.size(), "/", other.xattrs.size());
  return text;
}

Image ImageReader::Read() {
  const SideScope scope(Side::kNobody);
  Image image;
  ReadNode("", &image);
  ReadDirectory("", &image);
  return image;
}

void ImageReader::ReadDirectory(const std::string& path, Image* image) {
  DIR* const dir = opendir(model::JoinPath(root_, path).c_str());
  Require(dir != nullptr, "open " + root_ + "/" + path);
  while (const dirent* entry = readdir(dir)) {
    const std::string_view name = entry->d_name;
    if (name == "." || name == "..") continue;
    const std::string child = model::JoinPath(path, entry->d_name);
    ReadNode(child, image);
    if (entry->d_type == DT_DIR) ReadDirectory(child, image);
  }
  closedir(dir);
}

void ImageReader::ReadNode(const std::string& path, Image* image) {
  const std::string full = path.empty() ? root_ : model::JoinPath(root_, path);
  struct statx st {};
  Require(statx(AT_FDCWD, full.c_str(), AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &st) == 0, "statx " + full);
  Known& known = known_[st.stx_ino];
  const timespec ctime = ToTimespec(st.stx_ctime);
  if (known.node.inode == 0 || !Same(known.ctime, ctime)) {
    known.ctime = ctime;
    ImageNode& node = known.node;
    node = {.mode = st.stx_mode, .uid = st.stx_uid, .gid = st.stx_gid, .mtime = {}, .content = {}, .xattrs = XattrsOf(full),
            .inode = st.stx_ino};
    if (S_ISREG(st.stx_mode)) node.content = ContentOf(full, st.stx_size);
    if (S_ISLNK(st.stx_mode)) node.content = std::filesystem::read_symlink(full).string();
  }
  if (is_source_) Kernel::Get().GiveTimes(&st);
  ImageNode& node = (*image)[path];
  node = known.node;
  node.mtime = ToTimespec(st.stx_mtime);
}

void WriteImage(const std::string& root, const Image& image) {
  const SideScope scope(Side::kNobody);
  for (const auto& entry : std::filesystem::directory_iterator(root)) std::filesystem::remove_all(entry.path());
  std::map<std::uint64_t, std::string> first;  // name of a node
  for (const auto& [path, node] : image) {
    const std::string full = path.empty() ? root : model::JoinPath(root, path);
    if (path.empty()) continue;
    const auto [it, added] = first.try_emplace(node.inode, full);
    if (added) {
      MakeNode(full, node);
    } else {
      Require(link(it->second.c_str(), full.c_str()) == 0, "link " + full);
    }
  }
  for (auto it = image.rbegin(); it != image.rend(); ++it) Dress(it->first.empty() ? root : model::JoinPath(root, it->first), it->second);
}

std::vector<std::string> Differences(const Image& source, const Image& target) {
  std::vector<std::string> lines;
  std::map<std::uint64_t, std::uint64_t> pairs;
  std::map<std::uint64_t, std::uint64_t> reverse;
  for (const auto& [path, node] : source) {
    const auto there = target.find(path);
    if (there == target.end()) {
      lines.push_back("missing '" + path + "'");
      continue;
    }
    const std::string difference = there->second.DifferenceTo(node);
    if (!difference.empty()) lines.push_back("'" + path + "' differs (target/source):" + difference);
    if (node.IsDirectory()) continue;
    const bool grouped = pairs.try_emplace(node.inode, there->second.inode).first->second == there->second.inode &&
                         reverse.try_emplace(there->second.inode, node.inode).first->second == node.inode;
    if (!grouped) lines.push_back("'" + path + "' is linked otherwise");
  }
  for (const auto& [path, node] : target) {
    if (!source.contains(path)) lines.push_back("left over '" + path + "'");
  }
  return lines;
}

}  // namespace fanmirror::simulation
