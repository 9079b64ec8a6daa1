#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "catalogue/catalogue.h"
#include "catalogue/view.h"

namespace fanmirror::catalogue {

// The catalogue as LMDB holds it (env "catalogue"). Version 5.
//
//   table meta    "format" -> version:u32
//                 "header" -> header
//   table nodes   node-key -> node
//   table names   id name-bytes -> id               the directory, the entry's name; the node that it means
//
//   node-key = id, with the first 4 bytes of the handle (8 of a handle of 12 bytes or more) in big-endian order
//   id     = type:u8 length:u8 byte*length          model::FileId; 2..40 bytes
//   node   = flags:u8 type:u8 mode:u16 uid:u32 gid:u32 size:u64 time time links:u32 [device] [hash] name*
//   flags  = 1 content_known (hash follows) | 2 racy | 4 device follows
//   time   = seconds:i64 nanoseconds:u32            mtime, then ctime
//   device = major:u32 minor:u32
//   hash   = low:u64 high:u64
//   name   = id length:u8 byte*length               1..255 bytes, none of them '/' or NUL
//   header = batch:u64 listed:u64 complete:u8 has_root:u8 [id] length:u8 instance length:u8 filesystem
//            [held_of:u64 if not 0]
//
// Reasons:
// - Handles of ext4, xfs and btrfs begin with the inode number. With it in big-endian order the table is in the order of
//   inodes, in which a scan looks at them: its look-ups walk through the pages of the table, and do not jump.
// - Keys of names begin with a self-delimiting id, so no directory's key is a prefix of another's: the children of a
//   directory are one range, in byte order of their names, and a listing is one walk of a cursor.
// - The names of a node lie inside its record and not in a table of their own: nearly all nodes have one name, and then
//   a look-up, an update and a removal are one operation. A hard-link group of any size fits, because LMDB puts a large
//   value on pages of its own.
// - No key is longer than 40 + 255 bytes; LMDB as Debian builds it takes 511.
// - Nothing is believed: what does not parse to its last byte is an error of the store, never a guess.

constexpr std::uint32_t kCatalogueFormat = 5;
constexpr std::size_t kMaxNameBytes = 255;   // NAME_MAX of Linux
constexpr std::size_t kMaxHeaderText = 255;  // bytes of instance and of filesystem: their length is one byte

// A node with all that is stored of it.
struct StoredNode {
  Record record;
  std::vector<model::Name> names;
};

// True for what can be an entry of a directory.
bool IsEntryName(std::string_view name);

std::string NodeKey(const model::FileId& id);  // of the table nodes
std::string NameKey(const model::Name& name);

// nullopt when a field is out of its range.
std::optional<std::string> EncodeNode(const Record& record, const std::vector<model::Name>& names);
std::optional<std::string> EncodeHeader(const Catalogue::Header& header);

// nullopt when the bytes are not exactly one of what is asked for.
std::optional<StoredNode> DecodeNode(std::string_view bytes);
// The record alone, which spares the copying of the names (they are not looked at).
std::optional<Record> DecodeRecord(std::string_view bytes);
std::optional<model::FileId> DecodeId(std::string_view bytes);
std::optional<Catalogue::Header> DecodeHeader(std::string_view bytes);

}  // namespace fanmirror::catalogue
