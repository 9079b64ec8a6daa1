#include "replicate/comparison.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"

namespace fanmirror::replicate {

using model::Metadata;
using model::NodeType;

namespace {

std::string TimeText(const model::Timestamp& time) {
  const absl::Time at = absl::FromUnixSeconds(time.seconds) + absl::Nanoseconds(time.nanoseconds);
  return absl::FormatTime("%Y-%m-%dT%H:%M:%E9SZ", at, absl::UTCTimeZone());
}

class Description {
 public:
  template <typename Value>
  bool Add(std::string_view what, const Value& source, const Value& target) {
    if (source == target) return false;
    parts_.push_back(absl::StrCat(std::string(what), " ", source, ", on the target ", target));
    return true;
  }
  void Add(std::string part) { parts_.push_back(std::move(part)); }
  std::string Text() const { return absl::StrJoin(parts_, "; "); }

 private:
  std::vector<std::string> parts_;
};

bool IsDevice(NodeType type) { return type == NodeType::kCharDevice || type == NodeType::kBlockDevice; }

std::string Numbers(std::uint32_t first, std::uint32_t second) { return absl::StrCat(first, ":", second); }

}  // namespace

std::string_view TypeName(NodeType type) {
  switch (type) {
    case NodeType::kRegular:
      return "file";
    case NodeType::kDirectory:
      return "directory";
    case NodeType::kSymlink:
      return "symlink";
    case NodeType::kFifo:
      return "fifo";
    case NodeType::kSocket:
      return "socket";
    case NodeType::kCharDevice:
      return "character device";
    case NodeType::kBlockDevice:
      return "block device";
  }
  return "unknown";
}

Comparison Compare(const SourceEntry& source, const wire::ListedEntry& target,
                   const std::optional<model::ContentHash>& target_content) {
  const Metadata& ours = source.metadata;
  const Metadata& theirs = target.metadata;
  Comparison result;
  if (ours.type != theirs.type) {
    result.kind = true;
    result.what = absl::StrCat(std::string(TypeName(ours.type)), ", on the target ", std::string(TypeName(theirs.type)));
    return result;
  }
  Description text;
  if (ours.type == NodeType::kSymlink && source.symlink_target != target.symlink_target) {
    result.kind = true;
    text.Add("symlink target");
  }
  if (IsDevice(ours.type)) {
    result.kind = text.Add("device", Numbers(ours.device_major, ours.device_minor),
                           Numbers(theirs.device_major, theirs.device_minor));
  }
  if (ours.type == NodeType::kRegular) {
    result.content = text.Add("size", ours.size, theirs.size);
    if (source.content && target_content && *source.content != *target_content) {
      result.content = true;
      text.Add("content");
    }
  }
  if (ours.type != NodeType::kSymlink) {
    result.metadata |= text.Add("mode", absl::StrFormat("%04o", ours.mode), absl::StrFormat("%04o", theirs.mode));
  }
  result.metadata |= text.Add("owner", Numbers(ours.uid, ours.gid), Numbers(theirs.uid, theirs.gid));
  if (text.Add("mtime", TimeText(ours.mtime), TimeText(theirs.mtime))) {
    result.metadata = true;
    result.content |= ours.type == NodeType::kRegular && !(source.content && target_content);
  }
  if (source.xattrs != target.xattrs) {
    result.metadata = true;
    text.Add("xattrs");
  }
  result.what = text.Text();
  return result;
}

}  // namespace fanmirror::replicate
