#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "catalogue/catalogue.h"
#include "catalogue/catalogue_for_test.h"
#include "catalogue/scratch_for_test.h"
#include "catalogue/seal.h"
#include "catalogue/store_check.h"

namespace fanmirror::catalogue {
namespace {

namespace fs = std::filesystem;
using model::FileId;
using model::Name;

constexpr std::uint64_t kNodes = 3000;
constexpr std::uint64_t kLinks = 400;  // names of one node: its record needs pages of its own

class DamageTest : public OpenCatalogueTest {
 protected:
  // Several batches, so that there are free pages, branches and records of all sizes.
  void Fill() {
    for (std::uint64_t batch = 1; batch <= 5; ++batch) {
      std::vector<Effect> effects;
      for (std::uint64_t i = batch % 2; i < kNodes; i += 1 + batch % 2) {
        Record record;
        record.metadata.size = batch;
        effects.push_back({Effect::Kind::kSetNode, TestId(10 + i), {}, {}, record});
        effects.push_back({Effect::Kind::kSetName, TestId(10 + i), {TestId(1), absl::StrCat("name-", i)}, {}, {}});
      }
      for (std::uint64_t i = 0; i < kLinks; ++i) {
        effects.push_back({Effect::Kind::kSetName, TestId(10), {TestId(2), absl::StrCat("a-longer-name-of-a-link-", i)}, {}, {}});
      }
      for (std::uint64_t i = 0; i < kNodes && batch == 4; i += 3) {
        effects.push_back({Effect::Kind::kDropName, {}, {TestId(1), absl::StrCat("name-", i)}, {}, {}});
      }
      ASSERT_STATUS_OK(catalogue_->Commit(batch, effects));
      ASSERT_STATUS_OK(CheckStore(data()));
    }
  }
  // Reads all there is, so that a damaged page has its chance to crash us.
  void ReadAll() {
    for (std::uint64_t i = 0; i < kNodes + 20; ++i) {
      catalogue_->Node(TestId(i));
      for (const Name& name : catalogue_->NamesOf(TestId(i))) catalogue_->Child(name);
      catalogue_->ForEachChild(TestId(i), [](const std::string&, const FileId&) { return true; });
    }
    catalogue_->nodes();
  }
  std::string data() const { return dir() + "/data.mdb"; }
  void Overwrite(std::uint64_t at, const std::string& bytes) const {
    std::fstream file(data(), std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(at));
    file << bytes << std::flush;
    ASSERT_TRUE(file.good());
  }
};

TEST_F(DamageTest, ASoundStoreIsKept) {
  Fill();
  for (const bool in_order : {true, false}) {
    Open();
    EXPECT_EQ(catalogue_->set_aside(), "");
    EXPECT_EQ(catalogue_->header().batch, 5u);
    catalogue_.reset();
    EXPECT_EQ(ReadSeal(dir()), Seal::kClosed);
    if (in_order) {
      ASSERT_STATUS_OK(BreakSeal(dir()));
    }
  }
}

TEST_F(DamageTest, TheSealBreaksWhenTheDataIsTouched) {
  Fill();
  EXPECT_EQ(ReadSeal(dir()), Seal::kNone) << "it is open";
  catalogue_.reset();
  EXPECT_EQ(ReadSeal(dir()), Seal::kClosed);
  const std::string before = DescribeData(dir());
  while (DescribeData(dir()) == before) Overwrite(fs::file_size(data()) - 1, "x");  // times may be coarse
  EXPECT_EQ(ReadSeal(dir()), Seal::kNone);
}

// An end in order does not vouch for what somebody else wrote.
TEST_F(DamageTest, WhatIsOverwrittenWhileItIsOpenIsNotSealed) {
  Fill();
  const std::string before = DescribeData(dir());
  while (DescribeData(dir()) == before) Overwrite(fs::file_size(data()) - 1, "x");  // times may be coarse
  catalogue_.reset();
  EXPECT_EQ(ReadSeal(dir()), Seal::kNone);
}

TEST_F(DamageTest, ATruncatedOrEmptyFileIsSetAside) {
  for (const std::uint64_t keep : {0, 1, 4096, 8192, 3 * 4096, 100 * 4096 + 17}) {
    Fill();
    const std::string instance = catalogue_->header().instance;
    catalogue_.reset();
    fs::resize_file(data(), keep);
    Open();
    EXPECT_NE(catalogue_->set_aside(), "") << keep;
    EXPECT_EQ(catalogue_->nodes(), 0u);
    EXPECT_NE(catalogue_->header().instance, instance);
    EXPECT_EQ(fs::file_size(dir() + ".damaged/data.mdb"), keep);
  }
}

// Bytes anywhere: the store is set aside, or what is damaged cannot lead anybody out of it.
TEST_F(DamageTest, OverwrittenBytesCrashNobody) {
  Fill();
  catalogue_.reset();
  const std::string whole = scratch_.path() + "/whole";
  fs::copy(dir(), whole, fs::copy_options::recursive);
  const std::uint64_t size = fs::file_size(data());
  std::mt19937_64 random(1);
  int set_aside = 0;
  for (int round = 0; round < 150; ++round) {
    catalogue_.reset();
    fs::remove_all(dir());
    fs::copy(whole, dir(), fs::copy_options::recursive);
    // Heads of pages more often than the rest: there a few bytes do most.
    std::uint64_t at = random() % size;
    if (round % 3 == 0) at = at / 4096 * 4096 + random() % 64;
    std::string bytes(round % 2 == 0 ? 2 : 600, '\0');
    for (char& byte : bytes) byte = static_cast<char>(random());
    Overwrite(std::min(at, size - bytes.size()), bytes);
    Open();
    set_aside += catalogue_->set_aside().empty() ? 0 : 1;
    ReadAll();
    catalogue_->Commit(6, {}).IgnoreError();
  }
  EXPECT_GT(set_aside, 10);
}

}  // namespace
}  // namespace fanmirror::catalogue
