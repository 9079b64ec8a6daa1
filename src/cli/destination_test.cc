#include "cli/destination.h"

#include "gtest/gtest.h"

namespace fanmirror::cli {
namespace {

struct Case {
  const char* text;
  const char* user;  // null: none
  const char* host;
  const char* path;
};

TEST(ParseDestination, TellsHostsFromDirectories) {
  const Case cases[] = {
      {"/srv/backup", nullptr, "", "/srv/backup"},
      {"backup", nullptr, "", "backup"},
      {"./odd:name", nullptr, "", "./odd:name"},
      {"/srv/odd:name", nullptr, "", "/srv/odd:name"},
      {"dr1:/srv", nullptr, "dr1", "/srv"},
      {"dr1.example.org:/srv/a:b", nullptr, "dr1.example.org", "/srv/a:b"},
      {"root@dr1:/srv", "root", "dr1", "/srv"},
      {"user@domain@dr1:/srv", "user@domain", "dr1", "/srv"},
      {"[::1]:/srv", nullptr, "::1", "/srv"},
      {"root@[fe80::1%eth0]:/srv", "root", "fe80::1%eth0", "/srv"},
      {"dr1:/", nullptr, "dr1", "/"},
  };
  for (const Case& one : cases) {
    const auto destination = ParseDestination(one.text);
    ASSERT_TRUE(destination.ok()) << one.text << ": " << destination.status();
    EXPECT_EQ(destination->user.has_value(), one.user != nullptr) << one.text;
    EXPECT_EQ(destination->user.value_or(""), one.user == nullptr ? "" : one.user) << one.text;
    EXPECT_EQ(destination->host, one.host) << one.text;
    EXPECT_EQ(destination->path, one.path) << one.text;
  }
}

TEST(ParseDestination, RefusesWhatCannotBeMeant) {
  for (const char* text : {"", ":/srv", "root@:/srv", "@dr1:/srv", "dr1:", "dr1:srv", "dr1::module",
                           "::1:/srv", "-oProxyCommand=x:/srv", "root@-x:/srv", "dr1:~/srv"}) {
    const auto destination = ParseDestination(text);
    ASSERT_FALSE(destination.ok()) << text;
    EXPECT_EQ(std::string(destination.status().message()).find('\n'), std::string::npos);
  }
}

}  // namespace
}  // namespace fanmirror::cli
