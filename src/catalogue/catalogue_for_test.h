#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>

#include "catalogue/catalogue.h"
#include "catalogue/scratch_for_test.h"

namespace fanmirror::catalogue {

// A catalogue in a directory of the test alone.
class OpenCatalogueTest : public testing::Test {
 protected:
  void SetUp() override { Open(); }
  // Closes it first, if it is open.
  void Open() {
    catalogue_.reset();
    auto catalogue = Catalogue::Open(dir());
    ASSERT_TRUE(catalogue.ok()) << catalogue.status().ToString();
    catalogue_ = *std::move(catalogue);
  }
  std::string dir() const { return scratch_.path() + "/catalogue"; }

  Scratch scratch_;
  std::unique_ptr<Catalogue> catalogue_;
};

}  // namespace fanmirror::catalogue
