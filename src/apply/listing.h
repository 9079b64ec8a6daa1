#pragma once

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "apply/root.h"
#include "wire/messages.h"

namespace fanmirror::apply {

// Answers a List in one or more Listings (one: List.one_page). What cannot be listed is told in the last of them; the
// status returned is that of `answer` alone.
absl::Status ListPlace(Root* root, const wire::List& list,
                       absl::FunctionRef<absl::Status(const wire::Listing&)> answer);

}  // namespace fanmirror::apply
