#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "simulation/kernel.h"
#include "simulation/random.h"

namespace fanmirror::simulation {

// Somebody who works in the source and beside it: any operation that changes a tree, on few names, so that they meet often.
// Knows what the source ever was. Makes system calls as nobody.
class User {
 public:
  // `filesystem` gets the directories "source" and "outside".
  User(std::string filesystem, Random* random);

  // No mtime is set from here on: no two contents of a file have the same one.
  void LeaveTimesAlone() { sets_times_ = false; }
  // One operation, which may turn out to change nothing.
  void Act();

  std::string source() const { return filesystem_ + "/source"; }
  std::uint64_t operations() const { return operations_; }  // so far
  // Whether some file of the source ever held that.
  bool EverHeld(const std::string& content) const { return contents_.contains(content); }

  // The history of a path of the source ("" the root). Numbers are of operations.
  struct Past {
    std::uint64_t inode = 0;     // 0: there is nothing now
    std::uint64_t stamps = 0;    // of that node
    std::uint64_t changed = 0;   // the last one that changed anything of what is at the path
    std::uint64_t identity = 0;  // the last one that put another node there, or none
  };
  // All zero for a path that never was.
  Past PastOf(const std::string& path) const;
  // Whether anything that is, or was, directly in the directory changed after that operation.
  bool ChangedInside(const std::string& directory, std::uint64_t operation) const;

 private:
  using Kind = void (User::*)();
  void Create();
  void Append();
  void Truncate();
  void RewriteWithOldMtime();
  void SaveByRename();
  void MakeDirectory();
  void MakeTree();
  void Remove();
  void RemoveTree();
  void MakeSymlink();
  void MakeFifo();
  void Link();
  void Rename();
  void Exchange();
  void MoveOut();
  void MoveIn();
  void Chmod();
  void Chown();
  void SetXattr();
  void RemoveXattr();
  void Utimens();

  // What is there: paths relative to the filesystem. Directories include the two roots.
  void List();
  std::string AnyDirectory();         // of the source
  std::string AnyPlace();             // in a directory of the source, perhaps free
  std::string AnyEntry();             // of the source; "" when there is none
  std::string AnyFile();              // regular, of the source; "" when there is none
  bool IsTold(const std::string& path) const;
  std::string NewContent();
  void WriteFile(const std::string& path, const std::string& content);
  void MoveTo(const std::string& from, const std::string& to, unsigned flags);
  void Survey();

  std::string At(const std::string& path) const { return filesystem_ + "/" + path; }
  std::uint64_t Inode(const std::string& path) const;
  void Stamp(std::uint64_t inode, Kernel::Stamped what);
  void StampPath(const std::string& path, Kernel::Stamped what) { Stamp(Inode(path), what); }
  void StampParent(const std::string& path);
  void Remember(const std::string& path);
  void RemoveRecursively(const std::string& path);

  const std::string filesystem_;
  Random* const random_;
  bool sets_times_ = true;
  std::uint64_t operations_ = 0;
  std::uint64_t next_content_ = 0;
  std::unordered_set<std::string> contents_;
  std::unordered_map<std::uint64_t, std::uint64_t> stamps_;  // by inode: how many
  std::map<std::string, Past> pasts_;
  std::vector<std::string> directories_;
  std::vector<std::string> entries_;
  std::vector<std::string> files_;
  std::vector<std::string> outside_;
};

}  // namespace fanmirror::simulation
