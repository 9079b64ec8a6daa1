#include "simulation/checks.h"

#include "absl/strings/str_cat.h"
#include "simulation/failure.h"

namespace fanmirror::simulation {

Image Checks::Selected(const Image& source) const {
  Image selected;
  for (const auto& [path, node] : source) {
    if (path.empty() || !Excluded(path, node.IsDirectory())) selected[path] = node;
  }
  return selected;
}

Image Checks::WithoutHome(const Image& target) {
  Image rest;
  for (const auto& [path, node] : target) {
    if (path != ".fanmirror" && !path.starts_with(".fanmirror/")) rest[path] = node;
  }
  return rest;
}

bool Checks::IsBelowMoved(const std::string& path, std::uint64_t operation) const {
  for (std::size_t end = path.find('/'); end != std::string::npos; end = path.find('/', end + 1)) {
    if (user_->PastOf(path.substr(0, end)).identity > operation) return true;
  }
  return false;
}

void Checks::Observe(const Image& target) {
  const Image held = WithoutHome(target);
  for (const auto& [path, node] : held) {
    if (node.IsRegular() && !mixtures_ && !user_->EverHeld(node.content)) {
      Fail(absl::StrCat("the target's '", path, "' holds what the source never held: '", node.content.substr(0, 40), "', ",
                        node.content.size(), " bytes"));
    }
  }
  for (auto it = proved_.begin(); it != proved_.end();) {
    if (held.contains(it->first)) {
      ++it;
      continue;
    }
    const User::Past past = user_->PastOf(it->first);
    if (past.inode != 0 && past.identity == it->second) {
      Fail(absl::StrCat("'", it->first, "' is gone from the target, and the source has had it all the time"));
    }
    it = proved_.erase(it);
  }
}

void Checks::ForgetTarget() { proved_.clear(); }

void Checks::BarrierFell(const Barrier& barrier, const Image& durable) {
  const Image wanted = Selected(barrier.source);
  for (const auto& [path, node] : wanted) {
    const User::Past past = user_->PastOf(path);
    if (past.inode != 0 && past.identity <= barrier.operation) proved_[path] = past.identity;
    if (past.changed > barrier.operation) continue;
    const auto held = durable.find(path);
    if (held == durable.end()) {
      Fail(absl::StrCat("the barrier fell, and '", path, "', unchanged since, is not on the target's disk"));
    }
    ImageNode is = held->second;
    // What is placed in a directory moves its mtime, which is set again after that.
    if (is.IsDirectory() && user_->ChangedInside(path, barrier.operation)) is.mtime = node.mtime;
    const std::string difference = is.DifferenceTo(node);
    if (!difference.empty()) {
      Fail(absl::StrCat("the barrier fell, and '", path, "', unchanged since, differs on the target's disk (target/source):",
                        difference));
    }
  }
  for (const auto& [path, node] : WithoutHome(durable)) {
    if (wanted.contains(path) || user_->PastOf(path).changed > barrier.operation) continue;
    // In a directory that went elsewhere since: the target may have it here still, with what came into it there.
    if (IsBelowMoved(path, barrier.operation)) continue;
    Fail(absl::StrCat("the barrier fell, and '", path, "', which the source did not have then, is on the target's disk"));
  }
}

}  // namespace fanmirror::simulation
