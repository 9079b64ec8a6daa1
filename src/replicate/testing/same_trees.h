#pragma once

#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"

namespace fanmirror::replicate::testing {

inline std::string Contents(const std::string& path) {
  std::ifstream in(path, std::ios::binary | std::ios::ate);
  std::string content(in ? static_cast<std::size_t>(in.tellg()) : 0, '\0');
  in.seekg(0);
  in.read(content.data(), static_cast<std::streamsize>(content.size()));
  return content;
}

// All that is to be alike on both sides, of one node.
inline std::string DescribeNode(const std::string& path) {
  struct stat st {};
  if (lstat(path.c_str(), &st) != 0) return "unreadable";
  std::string text = absl::StrCat("mode ", absl::Hex(st.st_mode), " owner ", st.st_uid, ":", st.st_gid,
                                  " mtime ", st.st_mtim.tv_sec, ".", st.st_mtim.tv_nsec);
  if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode)) absl::StrAppend(&text, " device ", st.st_rdev);
  if (S_ISLNK(st.st_mode)) absl::StrAppend(&text, " to ", std::filesystem::read_symlink(path).string());
  if (S_ISREG(st.st_mode)) {
    const std::string content = Contents(path);
    absl::StrAppend(&text, " size ", content.size(), " hash ", std::hash<std::string>()(content));
  }
  std::array<char, 256> value{};
  const ssize_t size = lgetxattr(path.c_str(), "trusted.note", value.data(), value.size());
  if (size >= 0) text.append(" note ").append(value.data(), static_cast<std::size_t>(size));
  return text;
}

// By path; the root is "". What the receiver keeps for itself is left out. Hard links name the first of their
// group.
inline std::map<std::string, std::string> DescribeTree(const std::string& root) {
  std::map<std::string, std::string> nodes{{"", DescribeNode(root)}};
  std::map<std::string, ino_t> inodes;
  for (auto it = std::filesystem::recursive_directory_iterator(root); it != std::filesystem::end(it); ++it) {
    const std::string name = it->path().string().substr(root.size() + 1);
    if (name == ".fanmirror") {
      it.disable_recursion_pending();
      continue;
    }
    struct stat st {};
    if (lstat(it->path().c_str(), &st) == 0 && !S_ISDIR(st.st_mode)) inodes[name] = st.st_ino;
    nodes[name] = DescribeNode(it->path().string());
  }
  std::map<ino_t, std::string> first;
  for (const auto& [name, inode] : inodes) {
    absl::StrAppend(&nodes[name], " node of ", first.try_emplace(inode, name).first->second);
  }
  return nodes;
}

// One line for each difference, a few at most.
inline std::vector<std::string> Differences(const std::string& source, const std::string& target) {
  constexpr std::size_t kMaxLines = 10;
  const auto wanted = DescribeTree(source);
  auto held = DescribeTree(target);
  std::vector<std::string> lines;
  for (const auto& [name, description] : wanted) {
    const auto it = held.find(name);
    if (it == held.end()) {
      lines.push_back("missing '" + name + "'");
    } else if (it->second != description) {
      lines.push_back("'" + name + "' is " + it->second + ", not " + description);
    }
    held.erase(name);
  }
  for (const auto& [name, description] : held) lines.push_back("left over '" + name + "'");
  lines.resize(std::min(lines.size(), kMaxLines));
  return lines;
}

}  // namespace fanmirror::replicate::testing
