#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"

namespace fanmirror::config {

// A directory of its own, removed at the end. In texts for Fill(), '~' stands for its path.
class Sandbox {
 public:
  Sandbox() {
    const char* base = std::getenv("TEST_TMPDIR");
    std::string pattern = absl::StrCat(base != nullptr ? base : "/tmp", "/fanmirror-config-XXXXXX");
    if (mkdtemp(pattern.data()) == nullptr) std::abort();
    path_ = std::filesystem::canonical(pattern);
    for (const char* directory : {"src", "src/inner", "src2", "mirror", "around", "around/src"}) {
      std::filesystem::create_directories(absl::StrCat(path_, "/", directory));
    }
    Write("file", "");
    Write("rules", "*.o\n+ keep\n");
    Write("bad-rules", "a\n!\n");
  }
  ~Sandbox() { std::filesystem::remove_all(path_); }
  Sandbox(const Sandbox&) = delete;
  Sandbox& operator=(const Sandbox&) = delete;

  const std::string& path() const { return path_; }
  std::string Fill(std::string_view text) const {
    return absl::StrReplaceAll(std::string(text), {{"~", path_}});
  }
  void Write(const std::string& name, const std::string& text) const {
    std::ofstream(absl::StrCat(path_, "/", name)) << text;
  }

 private:
  std::string path_;
};

}  // namespace fanmirror::config
