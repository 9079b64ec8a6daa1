#pragma once

#include <string_view>

namespace fanmirror::watch {

// Why a filesystem type cannot be a source.
struct Refusal {
  std::string_view type;  // as mountinfo has it; with a '*' at its end: every type that begins so
  std::string_view reason;
  std::string_view cure;
};

// nullptr for a type that is not known to be unfit.
const Refusal* FindRefusal(std::string_view type);

}  // namespace fanmirror::watch
