#pragma once

#include "apply/root.h"
#include "wire/messages.h"

namespace fanmirror::apply {

// The answer to a List: the place itself and up to a Listing's full of its entries. What cannot be listed is told in it.
wire::Listing ListPlace(Root* root, const wire::List& list);

}  // namespace fanmirror::apply
