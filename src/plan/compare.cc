#include "plan/compare.h"

namespace fanmirror::plan {

using model::Metadata;
using model::NodeType;

bool IsAdopted(const catalogue::Record& record) { return record.metadata.ctime == model::Timestamp{}; }

bool IsSuspect(const catalogue::Record& record, const Metadata& now) {
  return record.racy || record.metadata.ctime != now.ctime;
}

Difference Compare(const catalogue::Record& record, const Metadata& now, Suspicion suspicion) {
  const Metadata& had = record.metadata;
  if (had.type != now.type) return Difference::kReplace;
  const bool metadata_differs = had.mode != now.mode || had.uid != now.uid || had.gid != now.gid ||
                                had.mtime != now.mtime || had.ctime != now.ctime ||
                                (record.racy && (suspicion.suspect || suspicion.told));
  if (now.type != NodeType::kRegular) return metadata_differs ? Difference::kMetadata : Difference::kNone;
  if (had.size != now.size) return Difference::kContent;
  if (had.mtime != now.mtime || suspicion.written) {
    return record.content_known ? Difference::kCheckContent : Difference::kContent;
  }
  if (suspicion.suspect) {
    if (IsAdopted(record)) return Difference::kMetadata;
    return record.content_known ? Difference::kCheckContent : Difference::kContent;
  }
  return metadata_differs ? Difference::kMetadata : Difference::kNone;
}

}  // namespace fanmirror::plan
