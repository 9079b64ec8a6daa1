#include "config/reader.h"

#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "config/values.h"
#include "model/failure.h"

namespace fanmirror::config {
namespace {

std::string_view TypeName(const toml::node& node) {
  switch (node.type()) {
    case toml::node_type::none:
      return "nothing";
    case toml::node_type::table:
      return "a table";
    case toml::node_type::array:
      return "an array";
    case toml::node_type::string:
      return "a string";
    case toml::node_type::integer:
      return "an integer";
    case toml::node_type::floating_point:
      return "a floating-point number";
    case toml::node_type::boolean:
      return "a boolean";
    case toml::node_type::date:
    case toml::node_type::time:
    case toml::node_type::date_time:
      return "a date or time";
  }
  return "unknown";
}

std::string Str(std::string_view text) { return std::string(text); }

}  // namespace

void ErrorSink::Fail(const toml::source_region* where, std::string_view message) {
  if (failed()) return;
  status_ = model::Failure(model::Reaction::kHaltJob, absl::StrCat(Place(where), ": ", Str(message)));
}

std::string ErrorSink::Place(const toml::source_region* where) const {
  const bool known = where != nullptr && where->begin.line != 0;
  return absl::StrCat(file_, ":", known ? where->begin.line : 1, ":", known ? where->begin.column : 1);
}

TableReader::TableReader(const toml::table& table, std::string title,
                         absl::Span<const std::string_view> known, ErrorSink* sink)
    : table_(&table), title_(std::move(title)), sink_(sink) {
  RefuseUnknown(known);
}

void TableReader::RefuseUnknown(absl::Span<const std::string_view> known) const {
  // The first in the file, not in the alphabet.
  const toml::key* first = nullptr;
  for (const auto& [key, value] : *table_) {
    if (std::find(known.begin(), known.end(), key.str()) != known.end()) continue;
    if (first == nullptr || key.source().begin < first->source().begin) first = &key;
  }
  if (first == nullptr) return;
  const std::string_view nearest = Nearest(first->str(), known);
  const std::string cure =
      nearest.empty()
          ? absl::StrCat(
                "the keys there are ",
                absl::StrJoin(known, ", ", [](std::string* out, std::string_view key) { out->append(key); }))
          : absl::StrCat("did you mean '", Str(nearest), "'?");
  sink_->Fail(&first->source(),
              absl::StrCat("unknown key ", model::QuotePath(first->str()), " in ", title_, "; ", cure));
}

void TableReader::Require(std::string_view key, std::string_view example) {
  if (Find(key) != nullptr) return;
  sink_->Fail(&table_->source(),
              absl::StrCat(title_, " has no ", Str(key), "; add ", Str(key), " = ", Str(example)));
}

const toml::node* TableReader::Find(std::string_view key) const { return table_->get(key); }

const toml::source_region* TableReader::Where(std::string_view key) const {
  const toml::node* node = key.empty() ? nullptr : Find(key);
  return node != nullptr ? &node->source() : &table_->source();
}

void TableReader::Fail(std::string_view key, std::string_view message) const {
  sink_->Fail(Where(key), message);
}

const toml::node* TableReader::FindAs(std::string_view key, toml::node_type type,
                                      std::string_view example) const {
  const toml::node* node = sink_->failed() ? nullptr : Find(key);
  if (node == nullptr || node->type() == type) return node;
  sink_->Fail(&node->source(),
              absl::StrCat(Str(key), " is ", Str(TypeName(*node)), "; write ", Str(example)));
  return nullptr;
}

void TableReader::Read(std::string_view key, std::string* out) const {
  const toml::node* node = FindAs(key, toml::node_type::string, absl::StrCat(Str(key), " = \"...\""));
  if (node != nullptr) *out = node->as_string()->get();
}

void TableReader::Read(std::string_view key, bool* out) const {
  const toml::node* node = FindAs(key, toml::node_type::boolean, absl::StrCat(Str(key), " = true or false"));
  if (node != nullptr) *out = node->as_boolean()->get();
}

void TableReader::Read(std::string_view key, std::optional<int>* out) const {
  const toml::node* node =
      FindAs(key, toml::node_type::integer, absl::StrCat(Str(key), " = a number, without quotes"));
  if (node == nullptr) return;
  const std::int64_t value = node->as_integer()->get();
  if (value < std::numeric_limits<int>::min() || value > std::numeric_limits<int>::max()) {
    sink_->Fail(&node->source(),
                absl::StrCat(Str(key), " ", value, " is out of range; choose a smaller number"));
    return;
  }
  *out = static_cast<int>(value);
}

void TableReader::ReadArray(std::string_view key, const toml::array& array,
                            std::vector<LocatedString>* out) const {
  for (const toml::node& element : array) {
    const auto* text = element.as_string();
    if (text == nullptr) {
      sink_->Fail(&element.source(), absl::StrCat(Str(key), " holds ", Str(TypeName(element)), "; write ",
                                                  Str(key), " = [\"...\", \"...\"]"));
      return;
    }
    out->push_back({text->get(), &element.source()});
  }
}

void TableReader::Read(std::string_view key, std::vector<LocatedString>* out) const {
  const toml::node* node =
      FindAs(key, toml::node_type::array, absl::StrCat(Str(key), " = [\"...\", \"...\"]"));
  if (node != nullptr) ReadArray(key, *node->as_array(), out);
}

void TableReader::ReadOneOrMore(std::string_view key, std::vector<LocatedString>* out) const {
  const toml::node* node = sink_->failed() ? nullptr : Find(key);
  if (node == nullptr) return;
  if (const auto* text = node->as_string()) {
    out->push_back({text->get(), &node->source()});
  } else {
    Read(key, out);
  }
}

std::vector<const toml::table*> TableReader::Tables(std::string_view key, std::string_view header) const {
  std::vector<const toml::table*> tables;
  const toml::node* node = FindAs(key, toml::node_type::array, absl::StrCat(Str(header), " before its keys"));
  if (node == nullptr) return tables;
  for (const toml::node& element : *node->as_array()) {
    if (!element.is_table()) {
      sink_->Fail(&element.source(), absl::StrCat(Str(key), " holds ", Str(TypeName(element)), "; write ",
                                                  Str(header), " before its keys"));
      return {};
    }
    tables.push_back(element.as_table());
  }
  return tables;
}

const toml::table* TableReader::Table(std::string_view key) const {
  const toml::node* node =
      FindAs(key, toml::node_type::table, absl::StrCat("[", Str(key), "] before its keys"));
  return node != nullptr ? node->as_table() : nullptr;
}

}  // namespace fanmirror::config
