#pragma once

#include <array>
#include <cstddef>
#include <string_view>

#include "absl/types/span.h"
#include "model/change.h"
#include "watch/event.h"

namespace fanmirror::watch {

// Where an event happened, which decides whose change it is.
struct EventPlace {
  enum class Kind {
    kNowhere,    // the event does not tell: only the node itself can be asked
    kDirectory,  // directory `dir` itself
    kEntry       // the entry `name` of `dir`
  };
  Kind kind = Kind::kNowhere;
  model::FileId dir;
  std::string_view name;
  bool is_directory = false;  // what the entry names
};

// A change that an event gives to those who selected `place`.
struct Candidate {
  model::Change::Kind kind = model::Change::Kind::kName;
  model::FileId id;
  std::string_view name;
  bool content = false;
  EventPlace place;
  // The node came from here. What was done to it, or below it, while it was not selected was told to nobody, and what left
  // and came back looks as if it never moved; so this is for who did not select `origin`.
  EventPlace origin;
};

// What one event gives.
class Candidates {
 public:
  absl::Span<const Candidate> list() const { return {list_.data(), size_}; }
  // The event tells too little to know where to look: anything may differ.
  bool untraceable() const { return untraceable_; }

 private:
  friend Candidates MapEvent(const Event& event);
  static constexpr std::size_t kMost = 5;  // the name, both names of a rename, what was renamed, the node
  void Add(const Candidate& candidate) { list_[size_++] = candidate; }

  std::array<Candidate, kMost> list_;
  std::size_t size_ = 0;
  bool untraceable_ = false;
};

// The meaning of events, in one place. Pure. Events that say nothing of the tree (FAN_Q_OVERFLOW,
// FAN_FS_ERROR) give nothing: they are the caller's.
Candidates MapEvent(const Event& event);

}  // namespace fanmirror::watch
