#pragma once

#include "catalogue/view.h"
#include "model/metadata.h"

namespace fanmirror::plan {

// What must be sent so that a node which the target has is like the source's.
enum class Difference {
  kNone,
  kMetadata,      // owner, mode, times or xattrs
  kContent,       // the content, and the metadata with it
  kCheckContent,  // read and hash it: the content only if the hash is another, else the metadata
  kReplace        // it is of another type: not the same node at all
};

struct Suspicion {
  bool written = false;  // an event told of writing
  bool suspect = false;  // a scan found another ctime, or the record is racily clean
  bool told = false;     // an event told of the node: within one tick of the clock its ctime does not tell
};

// Whether a node that a scan or an audit came upon is suspect.
bool IsSuspect(const catalogue::Record& record, const model::Metadata& now);

// Decides by the record of what the target has and the source's node now.
Difference Compare(const catalogue::Record& record, const model::Metadata& now, Suspicion suspicion);

// A record learnt by listing the target: its content is believed to be the source's because size and mtime are equal
// (rsync's quick check). It is marked by a ctime of zero, which no node of a source has.
bool IsAdopted(const catalogue::Record& record);

}  // namespace fanmirror::plan
