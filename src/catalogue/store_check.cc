#include "catalogue/store_check.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "catalogue/environment.h"

namespace fanmirror::catalogue {
namespace {

// The format of liblmdb 0.9 (data version 1), little endian, 64 bit.
//   page     number:u64 pad:u16 flags:u16 (lower:u16 upper:u16 | pages:u32) offset:u16*...
//   node     low:u16 high:u16 flags:u16 key_size:u16 key data      branch: low, high, flags are the child's page number
//   table    pad:u32 flags:u16 depth:u16 branch:u64 leaf:u64 overflow:u64 entries:u64 root:u64
//   meta     page magic:u32 version:u32 address:u64 size:u64 free:table main:table last:u64 transaction:u64
constexpr std::size_t kPageHeader = 16;
constexpr std::size_t kNodeHeader = 8;
constexpr std::size_t kTableBytes = 48;
constexpr std::size_t kMetaBytes = 24 + 2 * kTableBytes + 16;
constexpr std::uint32_t kMagic = 0xBEEFC0DE;
constexpr std::uint32_t kVersion = 1;
constexpr std::uint16_t kBranch = 0x01, kLeaf = 0x02, kOverflow = 0x04, kMeta = 0x08;
constexpr std::uint16_t kBigData = 0x01, kSubTable = 0x02;
constexpr std::uint64_t kNoPage = UINT64_MAX;
constexpr int kMaxDepth = 32;  // of LMDB's cursor
constexpr std::size_t kLeastPage = 512, kMostPage = 65536;

template <typename Integer>
Integer At(std::string_view bytes, std::size_t offset) {
  Integer value = 0;
  std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

struct Table {
  int depth = 0;
  std::uint64_t entries = 0;
  std::uint64_t root = kNoPage;
};

Table ParseTable(std::string_view bytes) {
  return {At<std::uint16_t>(bytes, 6), At<std::uint64_t>(bytes, 32), At<std::uint64_t>(bytes, 40)};
}

// What a leaf holds.
struct Item {
  std::string_view key;
  std::string_view value;
  bool is_table = false;
};

class Checker {
 public:
  explicit Checker(int fd) : fd_(fd) {}  // owns it
  ~Checker() { ::close(fd_); }
  Checker(const Checker&) = delete;
  Checker& operator=(const Checker&) = delete;
  absl::Status Check(std::uint64_t file_bytes);

 private:
  enum class Content { kFree, kTables, kRecords };
  struct Walk {
    Content content;
    int depth;
    std::uint64_t entries = 0;
    std::optional<std::string> last;  // key
    std::string lower;                // the next key may not be before this one
  };

  absl::Status ReadMeta(std::uint64_t at, std::string* meta);
  absl::Status Read(std::uint64_t page, std::size_t pages, std::string* bytes);
  absl::Status WalkTable(const Table& table, Content content);
  absl::Status WalkPage(std::uint64_t number, int level, Walk* walk);
  absl::Status CheckNode(std::string_view page, std::size_t index, bool leaf, std::string_view* node);
  absl::Status TakeItem(std::string_view node, Walk* walk);
  absl::Status TakeFree(std::string_view value);
  absl::Status Use(std::uint64_t page, std::uint64_t pages, bool free);
  static bool Before(Content content, std::string_view a, std::string_view b);
  static absl::Status Wrong(std::uint64_t page, std::string_view what) {
    return absl::DataLossError(absl::StrCat("page ", page, ": ", std::string(what)));
  }

  const int fd_;
  std::size_t page_bytes_ = 0;
  std::uint64_t file_pages_ = 0;
  std::uint64_t last_page_ = 0;
  std::vector<bool> used_;
};

absl::Status Checker::ReadMeta(std::uint64_t at, std::string* meta) {
  meta->resize(kPageHeader + kMetaBytes);
  const ssize_t size = ::pread(fd_, meta->data(), meta->size(), static_cast<off_t>(at));
  if (size != static_cast<ssize_t>(meta->size())) return absl::DataLossError("its head cannot be read");
  const bool good = (At<std::uint16_t>(*meta, 10) & kMeta) != 0 && At<std::uint32_t>(*meta, kPageHeader) == kMagic &&
                    At<std::uint32_t>(*meta, kPageHeader + 4) == kVersion;
  return good ? absl::OkStatus() : absl::DataLossError("its head is not one of LMDB");
}

absl::Status Checker::Check(std::uint64_t file_bytes) {
  std::string meta, second;
  if (absl::Status status = ReadMeta(0, &meta); !status.ok()) return status;
  page_bytes_ = At<std::uint32_t>(meta, kPageHeader + 24);
  if (page_bytes_ < kLeastPage || page_bytes_ > kMostPage || (page_bytes_ & (page_bytes_ - 1)) != 0) {
    return Wrong(0, "its page size is none");
  }
  if (absl::Status status = ReadMeta(page_bytes_, &second); !status.ok()) return status;
  constexpr std::size_t kLast = kPageHeader + 24 + 2 * kTableBytes;
  if (At<std::uint64_t>(second, kLast + 8) > At<std::uint64_t>(meta, kLast + 8)) meta = second;
  file_pages_ = file_bytes / page_bytes_;
  last_page_ = At<std::uint64_t>(meta, kLast);
  if (last_page_ < 1 || last_page_ >= kMapBytes / page_bytes_) return Wrong(0, "its last page is out of range");
  used_.assign(last_page_ + 1, false);
  if (absl::Status status = Use(0, 2, /*free=*/true); !status.ok()) return status;
  const std::string_view tables = std::string_view(meta).substr(kPageHeader + 24);
  if (At<std::uint16_t>(tables, kTableBytes + 4) != 0) return Wrong(0, "its table of tables is of another kind");
  if (absl::Status status = WalkTable(ParseTable(tables.substr(kTableBytes)), Content::kTables); !status.ok()) {
    return status;
  }
  return WalkTable(ParseTable(tables), Content::kFree);
}

// Free pages need not have been written ever.
absl::Status Checker::Use(std::uint64_t page, std::uint64_t pages, bool free) {
  const std::uint64_t limit = free ? last_page_ + 1 : std::min(last_page_ + 1, file_pages_);
  if (page >= limit || pages > limit - page) return Wrong(page, "it lies outside of the file");
  for (std::uint64_t i = page; i < page + pages; ++i) {
    if (used_[i]) return Wrong(i, "it is used twice");
    used_[i] = true;
  }
  return absl::OkStatus();
}

absl::Status Checker::Read(std::uint64_t page, std::size_t pages, std::string* bytes) {
  bytes->resize(pages * page_bytes_);
  for (std::size_t done = 0; done < bytes->size();) {
    const ssize_t size = ::pread(fd_, bytes->data() + done, bytes->size() - done,
                                 static_cast<off_t>(page * page_bytes_ + done));
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) return Wrong(page, size < 0 ? std::strerror(errno) : "it lies beyond the end of the file");
    done += static_cast<std::size_t>(size);
  }
  if (At<std::uint64_t>(*bytes, 0) != page) return Wrong(page, "it has another page's number");
  return absl::OkStatus();
}

absl::Status Checker::WalkTable(const Table& table, Content content) {
  if (table.root == kNoPage) {
    return table.entries == 0 ? absl::OkStatus() : absl::DataLossError("a table has entries and no page");
  }
  if (table.depth < 1 || table.depth > kMaxDepth) return Wrong(table.root, "its table is too deep");
  Walk walk{content, table.depth, 0, std::nullopt, ""};
  if (absl::Status status = WalkPage(table.root, 1, &walk); !status.ok()) return status;
  return walk.entries == table.entries ? absl::OkStatus() : Wrong(table.root, "its table has another number of entries");
}

absl::Status Checker::WalkPage(std::uint64_t number, int level, Walk* walk) {
  if (absl::Status status = Use(number, 1, /*free=*/false); !status.ok()) return status;
  std::string page;
  if (absl::Status status = Read(number, 1, &page); !status.ok()) return status;
  const bool leaf = level == walk->depth;
  if (At<std::uint16_t>(page, 10) != (leaf ? kLeaf : kBranch)) return Wrong(number, "it is of another kind");
  const std::size_t lower = At<std::uint16_t>(page, 12), upper = At<std::uint16_t>(page, 14);
  if (lower <= kPageHeader || lower % 2 != 0 || lower > upper || upper > page_bytes_) {
    return Wrong(number, "its head does not parse");
  }
  for (std::size_t i = 0; i < (lower - kPageHeader) / 2; ++i) {
    std::string_view node;
    if (absl::Status status = CheckNode(page, i, leaf, &node); !status.ok()) return status;
    if (leaf) {
      if (absl::Status status = TakeItem(node, walk); !status.ok()) return status;
      continue;
    }
    if (i > 0) {
      walk->lower = std::string(node.substr(kNodeHeader, At<std::uint16_t>(node, 6)));
      if (walk->last && !Before(walk->content, *walk->last, walk->lower)) return Wrong(number, "its keys are out of order");
    }
    const std::uint64_t child = At<std::uint32_t>(node, 0) | std::uint64_t{At<std::uint16_t>(node, 4)} << 32;
    if (absl::Status status = WalkPage(child, level + 1, walk); !status.ok()) return status;
  }
  return absl::OkStatus();
}

// The bytes of the node, from its head to the end of its data.
absl::Status Checker::CheckNode(std::string_view page, std::size_t index, bool leaf, std::string_view* node) {
  const std::uint64_t number = At<std::uint64_t>(page, 0);
  const std::size_t offset = At<std::uint16_t>(page, kPageHeader + 2 * index);
  if (offset < At<std::uint16_t>(page, 14) || offset % 2 != 0 || offset + kNodeHeader > page.size()) {
    return Wrong(number, "an entry lies outside of it");
  }
  *node = page.substr(offset);
  std::size_t size = kNodeHeader + At<std::uint16_t>(*node, 6);
  if (leaf) {
    const std::uint16_t flags = At<std::uint16_t>(*node, 4);
    if (flags != 0 && flags != kBigData && flags != kSubTable) return Wrong(number, "an entry is of another kind");
    size += flags == kBigData ? sizeof(std::uint64_t) : At<std::uint32_t>(*node, 0);
  }
  if (size > node->size()) return Wrong(number, "an entry reaches beyond it");
  *node = node->substr(0, size);
  return absl::OkStatus();
}

bool Checker::Before(Content content, std::string_view a, std::string_view b) {
  if (content == Content::kFree) return At<std::uint64_t>(a, 0) < At<std::uint64_t>(b, 0);
  return a < b;
}

absl::Status Checker::TakeItem(std::string_view node, Walk* walk) {
  const std::size_t key_size = At<std::uint16_t>(node, 6);
  const std::uint16_t flags = At<std::uint16_t>(node, 4);
  const std::string_view key = node.substr(kNodeHeader, key_size);
  std::string_view value = node.substr(kNodeHeader + key_size);
  const auto wrong = [](std::string_view what) { return absl::DataLossError(std::string(what)); };
  if (walk->content == Content::kFree && key_size != sizeof(std::uint64_t)) return wrong("a list of free pages has no number");
  if (walk->last && !Before(walk->content, *walk->last, key)) return wrong("keys are out of order");
  if (!walk->lower.empty() && Before(walk->content, key, walk->lower)) return wrong("a key is on the wrong page");
  walk->last = std::string(key);
  ++walk->entries;
  std::string big;
  if (flags == kBigData) {
    const std::uint64_t first = At<std::uint64_t>(value, 0);
    const std::size_t size = At<std::uint32_t>(node, 0);
    const std::size_t pages = (kPageHeader + size + page_bytes_ - 1) / page_bytes_;
    if (absl::Status status = Use(first, pages, /*free=*/false); !status.ok()) return status;
    if (absl::Status status = Read(first, pages, &big); !status.ok()) return status;
    if (At<std::uint16_t>(big, 10) != kOverflow || At<std::uint32_t>(big, 12) != pages) {
      return Wrong(first, "it is of another kind");
    }
    value = std::string_view(big).substr(kPageHeader, size);
  }
  if (walk->content == Content::kFree) return TakeFree(value);
  if ((flags == kSubTable) != (walk->content == Content::kTables)) return wrong("an entry is not what its table holds");
  if (flags != kSubTable) return absl::OkStatus();
  if (value.size() != kTableBytes || At<std::uint16_t>(value, 4) != 0) return wrong("a table does not parse");
  return WalkTable(ParseTable(value), Content::kRecords);
}

absl::Status Checker::TakeFree(std::string_view value) {
  const auto wrong = [] { return absl::DataLossError("a list of free pages does not parse"); };
  if (value.size() < sizeof(std::uint64_t)) return wrong();
  const std::uint64_t count = At<std::uint64_t>(value, 0);
  if (count > value.size() / sizeof(std::uint64_t) - 1) return wrong();
  std::uint64_t before = kNoPage;
  for (std::uint64_t i = 1; i <= count; ++i) {
    const std::uint64_t page = At<std::uint64_t>(value, i * sizeof(std::uint64_t));
    if (page >= before) return wrong();
    before = page;
    if (absl::Status status = Use(page, 1, /*free=*/true); !status.ok()) return status;
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckStore(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0 && errno == ENOENT) return absl::OkStatus();
  if (fd < 0) return absl::DataLossError(absl::StrCat("open: ", std::strerror(errno)));
  Checker checker(fd);
  struct stat status {};
  if (::fstat(fd, &status) != 0) return absl::DataLossError(absl::StrCat("stat: ", std::strerror(errno)));
  return checker.Check(static_cast<std::uint64_t>(status.st_size));
}

}  // namespace fanmirror::catalogue
