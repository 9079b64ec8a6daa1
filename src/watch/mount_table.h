#pragma once

#include <libmount.h>

#include <memory>

#include "absl/status/statusor.h"

namespace fanmirror::watch {

struct UnrefTable {
  void operator()(libmnt_table* table) const { mnt_unref_table(table); }
};
using MountTable = std::unique_ptr<libmnt_table, UnrefTable>;

// What is mounted in this process's mount namespace now.
absl::StatusOr<MountTable> ReadMountTable();

// The mount with this id; nullptr when there is none. Lives as long as the table.
libmnt_fs* FindById(libmnt_table* table, int id);

}  // namespace fanmirror::watch
