#pragma once

#include <sys/types.h>
#include <time.h>

#include <cstdint>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

namespace fanmirror::simulation {

// A node as people see it, and its inode number on its side.
struct ImageNode {
  mode_t mode = 0;
  uid_t uid = 0;
  gid_t gid = 0;
  timespec mtime{};
  std::string content;  // of a regular file; of a symlink: its target
  std::map<std::string, std::string> xattrs;
  std::uint64_t inode = 0;

  bool IsDirectory() const;
  bool IsRegular() const;
  // Empty when all but the inode number is alike, else what is not.
  std::string DifferenceTo(const ImageNode& other) const;
};

// By path relative to the root, which is "".
using Image = std::map<std::string, ImageNode>;

// Reads trees again and again: what did not change since is remembered.
class ImageReader {
 public:
  // `is_source`: with the times that the simulation gives to the nodes of the source.
  ImageReader(std::string root, bool is_source) : root_(std::move(root)), is_source_(is_source) {}
  Image Read();

 private:
  struct Known {
    timespec ctime{};  // real
    ImageNode node;
  };
  void ReadDirectory(const std::string& path, Image* image);
  void ReadNode(const std::string& path, Image* image);

  const std::string root_;
  const bool is_source_;
  std::unordered_map<std::uint64_t, Known> known_;
};

// Empties the directory `root` and makes it as the image says.
void WriteImage(const std::string& root, const Image& image);

// One line for each difference of a target to its source: of what is wanted, nothing else may be there.
std::vector<std::string> Differences(const Image& source, const Image& target);

}  // namespace fanmirror::simulation
