#include "model/failure.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <string>

namespace fanmirror::model {
namespace {

TEST(Failure, KeepsItsReaction) {
  for (const Reaction reaction : {Reaction::kRetry, Reaction::kReconnect, Reaction::kLookAgain,
                                  Reaction::kSkipAndReport, Reaction::kHaltJob}) {
    const absl::Status status = Failure(reaction, "what: where");
    EXPECT_FALSE(status.ok());
    EXPECT_EQ(ReactionOf(status), reaction) << ReactionName(reaction);
    EXPECT_EQ(ErrnoOf(status), 0);
    EXPECT_EQ(std::string(status.message()), "what: where");
  }
}

TEST(Failure, OfElsewhereIsTriedAgain) {
  EXPECT_EQ(ReactionOf(absl::InternalError("x")), Reaction::kRetry);
  for (const char* payload : {"", "0", "6", "-1", "99999999999", "halt"}) {
    absl::Status status = absl::InternalError("x");
    status.SetPayload("fanmirror/reaction", absl::Cord(payload));
    EXPECT_EQ(ReactionOf(status), Reaction::kRetry) << payload;
  }
}

TEST(Failure, NamesOfReactionsAreThoseOfTheManual) {
  EXPECT_EQ(ReactionName(Reaction::kSkipAndReport), "skip-file-and-report");
  EXPECT_EQ(ReactionName(Reaction::kHaltJob), "halt-job");
}

TEST(SystemFailure, SaysCallPathReasonAndCure) {
  const absl::Status status = SystemFailure(Reaction::kHaltJob, "open", "/a\nb", ENOSPC, "free some space");
  EXPECT_EQ(std::string(status.message()), "open '/a\\x0ab': No space left on device; free some space");
  EXPECT_EQ(ReactionOf(status), Reaction::kHaltJob);
  EXPECT_EQ(ErrnoOf(status), ENOSPC);
  EXPECT_EQ(std::string(SystemFailure(Reaction::kRetry, "stat", "x", EIO).message()),
            "stat 'x': Input/output error");
}

struct Quoted {
  std::string path;
  std::string shown;
};

class QuotePathTable : public testing::TestWithParam<Quoted> {};

TEST_P(QuotePathTable, ShowsOneLine) { EXPECT_EQ(QuotePath(GetParam().path), GetParam().shown); }

INSTANTIATE_TEST_SUITE_P(
    Paths, QuotePathTable,
    testing::Values(Quoted{"", "''"}, Quoted{"/srv/a b", "'/srv/a b'"},
                    Quoted{"a\nb\t\x7f", "'a\\x0ab\\x09\\x7f'"}, Quoted{"it's", "'it\\x27s'"},
                    Quoted{"a\\b", "'a\\x5cb'"}, Quoted{std::string(1, '\0'), "'\\x00'"},
                    Quoted{"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", "'\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80'"},
                    Quoted{"\xc3", "'\\xc3'"}, Quoted{"\xe2\x82", "'\\xe2\\x82'"},
                    Quoted{"\xff\xfe", "'\\xff\\xfe'"}, Quoted{"\xc0\x80", "'\\xc0\\x80'"},
                    Quoted{"\xc3(", "'\\xc3('"}));

TEST(QuotePath, ShortensInTheMiddle) {
  EXPECT_EQ(QuotePath(std::string(300, 'a')), "'" + std::string(300, 'a') + "'");
  EXPECT_EQ(QuotePath(std::string(200, 'a') + std::string(200, 'b')),
            "'" + std::string(150, 'a') + "..." + std::string(150, 'b') + "'");
}

TEST(QuotePath, IsPrintableForEveryByte) {
  std::string all;
  for (int byte = 0; byte < 256; ++byte) all.push_back(static_cast<char>(byte));
  for (const char shown : QuotePath(all)) {
    EXPECT_GE(static_cast<unsigned char>(shown), 0x20);
    EXPECT_NE(shown, '\x7f');
  }
}

}  // namespace
}  // namespace fanmirror::model
