#pragma once

#include <toml++/toml.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"

namespace fanmirror::config {

// Collects the first error of a configuration, as FILE:LINE:COLUMN: cause; cure.
class ErrorSink {
 public:
  explicit ErrorSink(std::string file) : file_(std::move(file)) {}

  // `where` may be null or without a position: then the error is of the whole file, at 1:1.
  void Fail(const toml::source_region* where, std::string_view message);
  std::string Place(const toml::source_region* where) const;  // FILE:LINE:COLUMN
  bool failed() const { return !status_.ok(); }
  const absl::Status& status() const { return status_; }
  const std::string& file() const { return file_; }

 private:
  std::string file_;
  absl::Status status_;
};

// A string and where it stands.
struct LocatedString {
  std::string text;
  const toml::source_region* where = nullptr;  // into the parsed document
};

// Reads one table of the configuration. What is not there leaves the value as it is; what is wrong goes to
// the sink, and after the first error nothing more is read. The document and the sink must outlive it.
class TableReader {
 public:
  // `title` is how messages call the table: "[[job]]". Keys that are not in `known` are errors.
  TableReader(const toml::table& table, std::string title, absl::Span<const std::string_view> known,
              ErrorSink* sink);

  // Sets the sink's error when the key is missing; `example` shows how to write it.
  void Require(std::string_view key, std::string_view example);

  void Read(std::string_view key, std::string* out) const;
  void Read(std::string_view key, bool* out) const;
  void Read(std::string_view key, std::optional<int>* out) const;
  // An array of strings.
  void Read(std::string_view key, std::vector<LocatedString>* out) const;
  // A string, or an array of strings.
  void ReadOneOrMore(std::string_view key, std::vector<LocatedString>* out) const;
  // A string in a notation of its own: parse(text) gives StatusOr<T>, whose error is "cause; cure".
  template <typename T, typename Parse>
  void Read(std::string_view key, const Parse& parse, T* out) const;

  // An array of tables, such as [[job]]; `header` is how it is written.
  std::vector<const toml::table*> Tables(std::string_view key, std::string_view header) const;
  const toml::table* Table(std::string_view key) const;

  const toml::node* Find(std::string_view key) const;
  void Fail(std::string_view key, std::string_view message) const;
  // Where the value of `key` stands, or else the table.
  const toml::source_region* Where(std::string_view key) const;
  ErrorSink* sink() const { return sink_; }

 private:
  void RefuseUnknown(absl::Span<const std::string_view> known) const;
  const toml::node* FindAs(std::string_view key, toml::node_type type, std::string_view example) const;
  void ReadArray(std::string_view key, const toml::array& array, std::vector<LocatedString>* out) const;

  const toml::table* table_;
  std::string title_;
  ErrorSink* sink_;
};

template <typename T, typename Parse>
void TableReader::Read(std::string_view key, const Parse& parse, T* out) const {
  const toml::node* node = Find(key);
  std::string text;
  Read(key, &text);
  if (node == nullptr || sink_->failed()) return;
  auto value = parse(text);
  if (!value.ok()) {
    std::string message(key);
    message += " ";
    message += std::string_view(value.status().message().data(), value.status().message().size());
    sink_->Fail(&node->source(), message);
    return;
  }
  *out = *std::move(value);
}

}  // namespace fanmirror::config
