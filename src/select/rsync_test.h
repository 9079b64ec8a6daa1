#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "select/filter.h"

namespace fanmirror::select {

// Path -> is a directory. Paths relative to the root; parents come first.
using Tree = std::map<std::string, bool>;
using Names = std::set<std::string>;

// A tree on disk, and the real rsync run on it.
class Rsync {
 public:
  explicit Rsync(const Tree& tree) : tree_(tree) {
    const char* base = std::getenv("TEST_TMPDIR");
    std::string pattern = absl::StrCat(base != nullptr ? base : "/tmp", "/fanmirror-select-XXXXXX");
    if (mkdtemp(pattern.data()) == nullptr) std::abort();
    base_ = std::filesystem::canonical(pattern);
    std::filesystem::create_directory(root());
    std::filesystem::create_directory(base_ + "/empty");
    for (const auto& [path, is_directory] : tree_) {
      const std::string full = absl::StrCat(root(), "/", path);
      if (is_directory) {
        std::filesystem::create_directory(full);
      } else if (path.ends_with("link")) {
        if (symlink("/", full.c_str()) != 0) std::abort();  // to a directory, and yet none
      } else {
        std::ofstream(full).put('x');
      }
    }
  }
  ~Rsync() { std::filesystem::remove_all(base_); }
  Rsync(const Rsync&) = delete;
  Rsync& operator=(const Rsync&) = delete;

  std::string root() const { return base_ + "/top"; }
  std::string base() const { return base_; }
  const Tree& tree() const { return tree_; }

  // What rsync selects with these options. Directories end with '/'.
  Names Select(const std::vector<std::string>& options) const {
    std::vector<std::string> arguments = {"rsync", "-n", "-a", "-8", "--out-format=%n"};
    arguments.insert(arguments.end(), options.begin(), options.end());
    arguments.push_back(root() + "/");
    arguments.push_back(base_ + "/empty/");
    const std::string output = Run(arguments);
    Names names;
    for (std::size_t at = 0; at < output.size();) {
      const std::size_t end = output.find('\n', at);
      names.insert(Unescape(output.substr(at, end - at)));
      at = end + 1;
    }
    names.erase("./");
    return names;
  }

 private:
  static std::string Run(const std::vector<std::string>& arguments) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) std::abort();
    std::vector<char*> argv;
    for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
    argv.push_back(nullptr);
    const pid_t child = fork();
    if (child == 0) {
      dup2(ends[1], STDOUT_FILENO);
      execvp(argv[0], argv.data());
      _exit(127);
    }
    close(ends[1]);
    std::string output;
    char buffer[4096];
    for (ssize_t n = 0; (n = read(ends[0], buffer, sizeof buffer)) > 0;)
      output.append(buffer, static_cast<std::size_t>(n));
    close(ends[0]);
    int status = 0;
    waitpid(child, &status, 0);
    EXPECT_EQ(status, 0) << "rsync failed: " << absl::CEscape(absl::StrJoin(arguments, " "));
    return output;
  }

  // rsync writes "\#ooo" for control characters, and for a backslash that could be taken for that.
  static std::string Unescape(const std::string& name) {
    std::string out;
    for (std::size_t i = 0; i < name.size(); ++i) {
      if (name.compare(i, 2, "\\#") == 0 && name.size() >= i + 5) {
        out += static_cast<char>(std::stoi(name.substr(i + 2, 3), nullptr, 8));
        i += 4;
      } else {
        out += name[i];
      }
    }
    return out;
  }

  Tree tree_;
  std::string base_;
};

// Calls body(0) to body(count - 1), several at a time: rsync spends its time waiting for its own processes.
template <typename Body>
void InParallel(std::size_t count, const Body& body) {
  constexpr std::size_t kThreads = 12;
  std::atomic<std::size_t> next = 0;
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      for (std::size_t i = next++; i < count; i = next++) body(i);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

inline Names Selected(const Filter& filter, const Tree& tree) {
  Names names;
  for (const auto& [path, is_directory] : tree) {
    if (!filter.ExcludesWithParents(path, is_directory)) names.insert(is_directory ? path + "/" : path);
  }
  return names;
}

inline std::string Show(const std::vector<std::string>& rules) {
  return absl::CEscape(absl::StrJoin(rules, "  ;  "));
}

// Expects that rsync and the filter select the same with these filter lines.
inline void ExpectSame(const Rsync& rsync, const std::vector<std::string>& lines) {
  std::vector<std::string> options;
  std::vector<Rule> rules;
  for (const std::string& line : lines) {
    options.push_back("--filter=" + line);
    const auto parsed = ParseFilterLine(line);
    ASSERT_TRUE(parsed.ok()) << parsed.status();
    rules.insert(rules.end(), parsed->begin(), parsed->end());
  }
  const auto filter = Filter::Compile(rules, rsync.root());
  ASSERT_TRUE(filter.ok()) << filter.status();
  const Names expected = rsync.Select(options);
  const Names selected = Selected(*filter, rsync.tree());
  std::string wrong;
  for (const auto& [path, is_directory] : rsync.tree()) {
    const std::string name = is_directory ? path + "/" : path;
    if (expected.contains(name) == selected.contains(name)) continue;
    absl::StrAppend(&wrong, "\n  ", expected.contains(name) ? "rsync takes it: " : "rsync leaves it out: ",
                    absl::CEscape(name));
  }
  EXPECT_EQ(wrong, "") << "rules: " << Show(lines);
}

}  // namespace fanmirror::select
