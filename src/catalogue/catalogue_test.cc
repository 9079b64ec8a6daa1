#include "catalogue/catalogue.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "catalogue/codec.h"
#include "catalogue/environment.h"
#include "catalogue/record_format.h"
#include "catalogue/catalogue_for_test.h"
#include "catalogue/scratch_for_test.h"
#include "model/failure.h"

namespace fanmirror::catalogue {
namespace {

using model::FileId;
using model::Name;

std::vector<Effect> File(const Name& name, const FileId& id, std::uint64_t size) {
  Record record;
  record.metadata.size = size;
  return {{Effect::Kind::kSetNode, id, {}, {}, record}, {Effect::Kind::kSetName, id, name, {}, {}}};
}

class CatalogueTest : public OpenCatalogueTest {
 protected:
  absl::Status OpenStatus() {
    catalogue_.reset();
    return Catalogue::Open(dir()).status();
  }
  // Writes a row past the catalogue, which is closed for it.
  void Spoil(const char* table, const std::string& key, const std::string& value) {
    catalogue_.reset();
    const auto env = Environment::Open(dir(), "test", "", 3, Environment::Durability::kSync);
    ASSERT_TRUE(env.ok());
    auto txn = Transaction::Write(**env);
    ASSERT_TRUE(txn.ok());
    MDB_dbi dbi = 0;
    ASSERT_STATUS_OK(txn->OpenTable(table, &dbi));
    ASSERT_STATUS_OK(txn->Put(dbi, key, value));
    ASSERT_STATUS_OK(txn->Commit());
  }
  const Name x{TestId(1), "x"};
  const FileId a = TestId(10);
};

TEST_F(CatalogueTest, ANewOneHasAnInstanceOfItsOwn) {
  const auto other = Catalogue::Open(scratch_.path() + "/other");
  ASSERT_TRUE(other.ok());
  EXPECT_EQ(catalogue_->header().instance.size(), 32u);
  EXPECT_EQ(catalogue_->header().instance.find_first_not_of("0123456789abcdef"), std::string::npos);
  EXPECT_NE(catalogue_->header().instance, (*other)->header().instance);
  EXPECT_TRUE(catalogue_->header().root.empty());
  EXPECT_EQ(catalogue_->header().batch, 0u);
}

TEST_F(CatalogueTest, ComesBackAfterACleanClose) {
  Catalogue::Header header = catalogue_->header();
  header.root = TestId(1);
  header.filesystem = "0d4f-uuid";
  header.listed = 9;
  ASSERT_STATUS_OK(catalogue_->SetHeader(header));
  ASSERT_STATUS_OK(catalogue_->Commit(7, File(x, a, 42)));
  Open();
  EXPECT_EQ(catalogue_->header().batch, 7u);
  EXPECT_EQ(catalogue_->header().listed, 9u);
  EXPECT_EQ(catalogue_->header().instance, header.instance);
  EXPECT_EQ(catalogue_->header().root, TestId(1));
  EXPECT_EQ(catalogue_->header().filesystem, "0d4f-uuid");
  EXPECT_EQ(catalogue_->nodes(), 1u);
  ASSERT_EQ(catalogue_->Child(x), a);
  EXPECT_EQ(catalogue_->Node(a)->metadata.size, 42u);
  EXPECT_EQ(catalogue_->NamesOf(a), std::vector<Name>{x});
}

TEST_F(CatalogueTest, ClearKeepsTheHeader) {
  ASSERT_STATUS_OK(catalogue_->Commit(7, File(x, a, 42)));
  ASSERT_STATUS_OK(catalogue_->Clear());
  EXPECT_EQ(catalogue_->nodes(), 0u);
  EXPECT_FALSE(catalogue_->Child(x));
  EXPECT_EQ(catalogue_->header().batch, 7u);
}

TEST_F(CatalogueTest, ClearMakesTheListingIncomplete) {
  Catalogue::Header header = catalogue_->header();
  header.complete = true;
  ASSERT_STATUS_OK(catalogue_->SetHeader(header));
  Open();
  EXPECT_TRUE(catalogue_->header().complete);
  ASSERT_STATUS_OK(catalogue_->Clear());
  EXPECT_FALSE(catalogue_->header().complete);
  Open();
  EXPECT_FALSE(catalogue_->header().complete);
}

TEST_F(CatalogueTest, ACommitThatCannotBeStoredChangesNothing) {
  ASSERT_STATUS_OK(catalogue_->Commit(1, File(x, a, 42)));
  for (const std::string& name :
       {std::string(256, 'x'), std::string("a/b"), std::string("a\0b", 3), std::string()}) {
    std::vector<Effect> effects = File(x, a, 43);
    for (const Effect& effect : File({TestId(1), name}, TestId(11), 1)) effects.push_back(effect);
    EXPECT_FALSE(catalogue_->Commit(2, effects).ok()) << model::QuotePath(name);
  }
  std::vector<Effect> effects = File(x, a, 43);
  effects[0].record.metadata.mtime.nanoseconds = 1'000'000'000;
  const absl::Status status = catalogue_->Commit(2, effects);
  EXPECT_EQ(model::ReactionOf(status), model::Reaction::kHaltJob);
  EXPECT_EQ(catalogue_->header().batch, 1u);
  EXPECT_EQ(catalogue_->Node(a)->metadata.size, 42u);
  EXPECT_STATUS_OK(catalogue_->health());
  EXPECT_STATUS_OK(catalogue_->Commit(2, File(x, a, 44)));
  EXPECT_EQ(catalogue_->Node(a)->metadata.size, 44u);
}

TEST_F(CatalogueTest, RefusesANewerFormatInWords) {
  std::string version;
  AppendLittle(std::uint32_t{9}, &version);
  Spoil("meta", "format", version);
  const absl::Status status = OpenStatus();
  EXPECT_EQ(model::ReactionOf(status), model::Reaction::kHaltJob);
  EXPECT_NE(std::string(status.message()).find("format 9"), std::string::npos) << status.ToString();
}

TEST_F(CatalogueTest, ADamagedHeaderOrAnOlderFormatIsSetAside) {
  std::string version;
  AppendLittle(std::uint32_t{0}, &version);
  for (const auto& [key, value] : {std::pair<std::string, std::string>{"header", "short"}, {"format", version}}) {
    ASSERT_STATUS_OK(catalogue_->Commit(1, File(x, a, 42)));
    Spoil("meta", key, value);
    Open();
    EXPECT_NE(catalogue_->set_aside().find(key), std::string::npos) << catalogue_->set_aside();
    EXPECT_EQ(catalogue_->nodes(), 0u);
    EXPECT_EQ(catalogue_->header().batch, 0u);
    EXPECT_TRUE(std::filesystem::exists(dir() + ".damaged/data.mdb"));
  }
  Open();
  EXPECT_EQ(catalogue_->set_aside(), "");
}

TEST_F(CatalogueTest, ADamagedRecordReadsAsAbsentAndStopsCommitsUntilCleared) {
  ASSERT_STATUS_OK(catalogue_->Commit(1, File(x, a, 42)));
  Spoil("nodes", NodeKey(a), "?");
  Open();
  EXPECT_STATUS_OK(catalogue_->health());
  EXPECT_FALSE(catalogue_->Node(a));
  EXPECT_EQ(model::ReactionOf(catalogue_->health()), model::Reaction::kHaltJob);
  EXPECT_FALSE(catalogue_->Commit(2, File(x, TestId(11), 1)).ok());
  EXPECT_EQ(catalogue_->header().batch, 1u);
  ASSERT_STATUS_OK(catalogue_->Clear());
  EXPECT_STATUS_OK(catalogue_->health());
  EXPECT_STATUS_OK(catalogue_->Commit(2, File(x, TestId(11), 1)));
  Open();
  EXPECT_NE(catalogue_->set_aside(), "") << "where one record was damaged, others may be";
}

TEST_F(CatalogueTest, DamageFoundInTheMidstOfACommitAbandonsIt) {
  ASSERT_STATUS_OK(catalogue_->Commit(1, File(x, a, 42)));
  Spoil("names", NameKey(x), "?");
  Open();
  EXPECT_FALSE(catalogue_->Commit(2, File(x, TestId(11), 1)).ok());
  EXPECT_EQ(catalogue_->header().batch, 1u);
  catalogue_->ForEachChild(TestId(1), [](const std::string&, const FileId&) {
    ADD_FAILURE() << "visited what does not parse";
    return true;
  });
}

// Every prefix and every changed byte of a record is refused or is another whole record, and never more than
// it.
TEST(RecordFormat, SurvivesDamage) {
  Record record;
  record.metadata.device_minor = 7;
  record.content_known = true;
  const std::vector<Name> names = {{TestId(1), "x"}, {FileId::Limbo(), std::string(255, 'y')}};
  const std::string bytes = *EncodeNode(record, names);
  const auto whole = DecodeNode(bytes);
  ASSERT_TRUE(whole);
  EXPECT_EQ(whole->record, record);
  EXPECT_EQ(whole->names, names);
  int prefixes = 0;
  for (std::size_t size = 0; size < bytes.size(); ++size)
    prefixes += DecodeNode(bytes.substr(0, size)).has_value();
  EXPECT_EQ(prefixes, 2) << "those that end before a name";
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    for (const int bit : {0, 3, 7}) {
      std::string damaged = bytes;
      damaged[at] = static_cast<char>(damaged[at] ^ (1 << bit));
      const auto node = DecodeNode(damaged);
      if (node) {
        EXPECT_EQ(EncodeNode(node->record, node->names), damaged) << "byte " << at;
      }
    }
  }
}

}  // namespace
}  // namespace fanmirror::catalogue
