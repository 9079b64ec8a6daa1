#include "watch/mount_table.h"

#include "model/failure.h"

namespace fanmirror::watch {
namespace {

constexpr char kMountInfo[] = "/proc/self/mountinfo";

struct FreeIterator {
  void operator()(libmnt_iter* iterator) const { mnt_free_iter(iterator); }
};

}  // namespace

absl::StatusOr<MountTable> ReadMountTable() {
  MountTable table(mnt_new_table());
  if (table == nullptr) return model::Failure(model::Reaction::kRetry, "read the mount table: out of memory");
  const int result = mnt_table_parse_file(table.get(), kMountInfo);
  if (result != 0) {
    return model::SystemFailure(model::Reaction::kRetry, "read", kMountInfo, -result, "is /proc mounted?");
  }
  return table;
}

libmnt_fs* FindById(libmnt_table* table, int id) {
  const std::unique_ptr<libmnt_iter, FreeIterator> iterator(mnt_new_iter(MNT_ITER_FORWARD));
  libmnt_fs* fs = nullptr;
  while (iterator != nullptr && mnt_table_next_fs(table, iterator.get(), &fs) == 0) {
    if (mnt_fs_get_id(fs) == id) return fs;
  }
  return nullptr;
}

}  // namespace fanmirror::watch
