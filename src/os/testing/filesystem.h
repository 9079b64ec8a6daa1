#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace fanmirror::os::testing {

// An empty directory below $TEST_TMPDIR or /tmp with a name of its own; removed with its content, if it lies
// on the same filesystem, at the end.
class ScopedDirectory {
 public:
  static absl::StatusOr<std::unique_ptr<ScopedDirectory>> Create();
  ~ScopedDirectory();
  ScopedDirectory(const ScopedDirectory&) = delete;
  ScopedDirectory& operator=(const ScopedDirectory&) = delete;

  const std::string& path() const { return path_; }

 private:
  explicit ScopedDirectory(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

// A new filesystem, mounted on a directory of its own: an image file on a loop device, or a tmpfs. Unmounted
// (with all that is mounted below) and removed at the end. Needs root: tests ask IsRoot() first and skip.
// Blocks while mkfs and mount run (0.1 to 0.5 s). Not thread-safe; any number at a time.
class ScopedFilesystem {
 public:
  // mkfs.xfs refuses less than 300 MiB. Images are sparse: what is not written costs nothing.
  static constexpr std::uint64_t kDefaultBytes = 512ULL << 20;

  // `fstype`: one of AllFilesystems(). ext4 gets an inode for every 4 KiB. `mkfs_options` come before the
  // image.
  static absl::StatusOr<std::unique_ptr<ScopedFilesystem>> Create(
      const std::string& fstype, std::uint64_t bytes = kDefaultBytes,
      const std::vector<std::string>& mkfs_options = {});
  ~ScopedFilesystem();
  ScopedFilesystem(const ScopedFilesystem&) = delete;
  ScopedFilesystem& operator=(const ScopedFilesystem&) = delete;

  const std::string& path() const { return path_; }  // where it is mounted, absolute, without symlinks in it
  const std::string& fstype() const { return fstype_; }
  const std::string& image() const { return image_; }  // the image file; empty for tmpfs

  // As the commands umount(8) and mount(8) would do. A tmpfs is empty after it was mounted again. `options`:
  // as after mount -o.
  absl::Status Unmount();
  absl::Status Mount(const std::string& options = "");

  // Waits until nobody holds the filesystem after Unmount: all is written to the image, and nothing is
  // cached. A descriptor, a clone of the mount or another mount namespace (programs come and go with those)
  // delays that.
  absl::Status WaitUntilReleased() const;

  // From now on it refuses writes, and reads of what is not cached, as one does whose disk has failed. ext4 and xfs. What
  // was not synced is lost.
  absl::Status ShutDown() const;

  // Spoils every occurrence of `bytes` in the image, which is released now. An error when there is none.
  absl::Status Corrupt(const std::string& bytes);

 private:
  ScopedFilesystem() = default;
  std::unique_ptr<ScopedDirectory> home_;
  std::string fstype_;
  std::string path_;
  std::string image_;
  std::uint64_t bytes_ = 0;
};

// The filesystems that fanmirror promises full fidelity on: "ext4", "xfs", "btrfs", "tmpfs".
std::vector<std::string> AllFilesystems();

bool IsRoot();

// Runs a program found in PATH and waits for it. An error holds the command and what it wrote to stderr and
// stdout.
absl::Status RunCommand(const std::vector<std::string>& command);

}  // namespace fanmirror::os::testing
