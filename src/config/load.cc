#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <exception>
#include <optional>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "config/check.h"
#include "config/config.h"
#include "config/limits.h"
#include "config/nesting.h"
#include "config/reader.h"
#include "config/values.h"
#include "model/failure.h"

namespace fanmirror::config {
namespace {

using Keys = absl::Span<const std::string_view>;

constexpr std::array<std::string_view, 2> kRootKeys = {"daemon", "job"};
constexpr std::array<std::string_view, 3> kDaemonKeys = {"state_dir", "control_socket", "bounded_queue"};
constexpr std::array<std::string_view, 13> kJobKeys = {
    "name",   "source", "include",    "filter", "exclude",      "exclude_from", "settle", "max_delay",
    "delete", "target", "max_delete", "audit",  "audit_content"};
constexpr std::array<std::string_view, 10> kTargetKeys = {"name",          "host",        "port",     "path",
                                                          "identity_file", "known_hosts", "receiver", "bandwidth_limit",
                                                          "adopt",         "timeout"};

std::string Message(const absl::Status& status) { return std::string(status.message()); }

// The content of a file of text; the error is "cause; cure".
absl::StatusOr<std::string> ReadText(const std::string& file) {
  const auto refuse = [&](int error, std::string_view call, std::string_view cure) {
    return model::SystemFailure(model::Reaction::kHaltJob, call, file, error, cure);
  };
  const int fd = open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return refuse(errno, "open", "create it, make it readable, or name another file");
  const auto closer = absl::MakeCleanup([fd] { close(fd); });
  std::string text;
  std::array<char, 65536> buffer;
  while (text.size() <= kMaxFileBytes) {
    const ssize_t got = read(fd, buffer.data(), buffer.size());
    if (got == 0) return text;
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return refuse(errno, "read", "name a readable file");
    text.append(buffer.data(), static_cast<std::size_t>(got));
  }
  return refuse(EFBIG, "read", absl::StrCat("keep it below ", kMaxFileBytes, " bytes"));
}

// ---- From tables to structs. The document's order of keys has no meaning.

absl::StatusOr<std::uint64_t> ParseLimit(std::string_view text) {
  absl::StatusOr<std::uint64_t> rate = ParseRate(text);
  if (rate.ok() && *rate == 0) {
    return model::Failure(model::Reaction::kHaltJob, "is zero; raise it, or remove it for no limit");
  }
  return rate;
}

// An interval, or "off".
absl::StatusOr<absl::Duration> ParseAudit(std::string_view text) {
  if (text == "off") return absl::ZeroDuration();
  absl::StatusOr<absl::Duration> interval = ParseDuration(text);
  if (interval.ok() && (*interval <= absl::ZeroDuration() || *interval > kMaxAuditInterval)) {
    return model::Failure(model::Reaction::kHaltJob,
                          absl::StrCat("is not between 1ms and ", absl::ToInt64Hours(kMaxAuditInterval),
                                       "h; write such a time, or \"off\""));
  }
  return interval;
}

void ReadPath(const TableReader& reader, std::string_view key, std::string* out) {
  std::string path;
  if (reader.Find(key) == nullptr) return;
  reader.Read(key, &path);
  *out = NormalizePath(path);
}

void ReadDelete(const TableReader& reader, DeletePolicy* out) {
  const toml::node* node = reader.Find("delete");
  if (node == nullptr) return;
  if (const auto* boolean = node->as_boolean()) {
    *out = boolean->get() ? DeletePolicy::kAlways : DeletePolicy::kNever;
    return;
  }
  const std::string text = node->value_or(std::string());
  if (text == "startup") {
    *out = DeletePolicy::kStartup;
  } else if (text == "running") {
    *out = DeletePolicy::kRunning;
  } else {
    reader.Fail("delete", "delete is none of its values; write true, false, \"startup\" or \"running\"");
  }
}

void ReadMaxDelete(const TableReader& reader, MaxDelete* out) {
  const toml::node* node = reader.Find("max_delete");
  if (node == nullptr) return;
  if (const auto* boolean = node->as_boolean(); boolean != nullptr && !boolean->get()) {
    *out = {};
  } else if (const auto* count = node->as_integer(); count != nullptr && count->get() > 0) {
    *out = {.fraction = std::nullopt, .count = static_cast<std::uint64_t>(count->get())};
  } else if (const auto percent = ParsePercent(node->value_or(std::string())); percent.ok()) {
    *out = {.fraction = *percent, .count = std::nullopt};
  } else {
    reader.Fail("max_delete", "max_delete is none of its values; write \"1%\" to \"99%\", a number above 0, or false");
  }
}

Target ReadTarget(const toml::table& table, ErrorSink* sink) {
  TableReader reader(table, "[[job.target]]", Keys(kTargetKeys), sink);
  Target target;
  reader.Require("name", "\"...\"");
  reader.Require("path", "\"/...\"");
  reader.Read("name", &target.name);
  Host host;
  reader.Read("host", ParseHost, &host);
  target.user = host.user;
  target.host = host.name;
  reader.Read("port", &target.port);
  ReadPath(reader, "path", &target.path);
  ReadPath(reader, "identity_file", &target.identity_file);
  ReadPath(reader, "known_hosts", &target.known_hosts);
  reader.Read("receiver", &target.receiver);
  reader.Read("bandwidth_limit", ParseLimit, &target.bandwidth_limit);
  reader.Read("adopt", &target.adopt);
  reader.Read("timeout", ParseDuration, &target.timeout);
  return target;
}

// Adds the patterns of an `include` or `exclude`.
void ReadPatterns(const TableReader& reader, std::string_view key, bool include,
                  std::vector<select::Rule>* rules) {
  std::vector<LocatedString> patterns;
  reader.Read(key, &patterns);
  for (const LocatedString& pattern : patterns) {
    auto rule = select::ParsePattern(pattern.text, include);
    if (!rule.ok()) return reader.sink()->Fail(pattern.where, Message(rule.status()));
    rules->push_back(*std::move(rule));
  }
}

void ReadFilter(const TableReader& reader, std::vector<select::Rule>* rules) {
  std::vector<LocatedString> lines;
  reader.Read("filter", &lines);
  for (const LocatedString& line : lines) {
    auto parsed = select::ParseFilterLine(line.text);
    if (!parsed.ok()) return reader.sink()->Fail(line.where, Message(parsed.status()));
    rules->insert(rules->end(), parsed->begin(), parsed->end());
  }
}

void ReadExcludeFrom(const TableReader& reader, std::vector<select::Rule>* rules) {
  std::vector<LocatedString> files;
  reader.ReadOneOrMore("exclude_from", &files);
  for (const LocatedString& file : files) {
    const std::string& config_file = reader.sink()->file();
    std::string path = file.text;
    if (path.empty() || path.find('\0') != std::string::npos) {
      return reader.sink()->Fail(file.where, "exclude_from names no file; write its path");
    }
    if (const std::size_t slash = config_file.rfind('/'); path.front() != '/' && slash != std::string::npos) {
      path.insert(0, config_file.substr(0, slash + 1));
    }
    const auto text = ReadText(path);
    if (!text.ok())
      return reader.sink()->Fail(file.where, absl::StrCat("exclude_from: ", Message(text.status())));
    auto parsed = select::ParseExcludeFrom(*text);
    if (!parsed.ok()) {
      return reader.sink()->Fail(file.where,
                                 absl::StrCat("in ", model::QuotePath(path), ": ", Message(parsed.status())));
    }
    rules->insert(rules->end(), parsed->begin(), parsed->end());
  }
}

Job ReadJob(const toml::table& table, ErrorSink* sink) {
  TableReader reader(table, "[[job]]", Keys(kJobKeys), sink);
  Job job;
  reader.Require("name", "\"...\"");
  reader.Require("source", "\"/...\"");
  reader.Read("name", &job.name);
  ReadPath(reader, "source", &job.source);
  job.source_place = sink->Place(reader.Where("source"));
  reader.Read("settle", ParseDuration, &job.settle);
  reader.Read("max_delay", ParseDuration, &job.max_delay);
  ReadDelete(reader, &job.delete_policy);
  ReadMaxDelete(reader, &job.max_delete);
  reader.Read("audit", ParseAudit, &job.audit);
  reader.Read("audit_content", &job.audit_content);
  ReadPatterns(reader, "include", true, &job.rules);
  ReadFilter(reader, &job.rules);
  ReadPatterns(reader, "exclude", false, &job.rules);
  ReadExcludeFrom(reader, &job.rules);
  if (sink->failed()) return job;
  auto filter = select::Filter::Compile(job.rules, job.source);
  if (!filter.ok()) {
    reader.Fail("", Message(filter.status()));
    return job;
  }
  job.filter = *std::move(filter);
  const auto targets = reader.Tables("target", "[[job.target]]");
  if (targets.size() > kMaxTargets) {
    reader.Fail("target", absl::StrCat("a job has more than ", kMaxTargets, " targets; split it"));
  }
  for (const toml::table* target : targets) {
    if (!sink->failed()) job.targets.push_back(ReadTarget(*target, sink));
  }
  return job;
}

Config ReadConfig(const toml::table& root, ErrorSink* sink) {
  Config config;
  const TableReader reader(root, "the file", Keys(kRootKeys), sink);
  if (const toml::table* daemon = reader.Table("daemon"); daemon != nullptr) {
    const TableReader daemon_reader(*daemon, "[daemon]", Keys(kDaemonKeys), sink);
    ReadPath(daemon_reader, "state_dir", &config.state_dir);
    ReadPath(daemon_reader, "control_socket", &config.control_socket);
    daemon_reader.Read("bounded_queue", &config.bounded_queue);
  }
  const auto jobs = reader.Tables("job", "[[job]]");
  if (jobs.size() > kMaxJobs)
    reader.Fail("job", absl::StrCat("there are more than ", kMaxJobs, " jobs; remove some"));
  for (const toml::table* job : jobs) {
    if (!sink->failed()) config.jobs.push_back(ReadJob(*job, sink));
  }
  return config;
}

// Where the key of a problem stands; the table that should hold it when it is not there.
const toml::source_region* Locate(const toml::table& root, const Problem& problem) {
  const toml::table* table = &root;
  if (!problem.job.has_value()) {
    if (const toml::table* daemon = root["daemon"].as_table(); daemon != nullptr) table = daemon;
  } else {
    const toml::node* node = root["job"][*problem.job].node();
    if (problem.target.has_value() && node != nullptr) {
      node = toml::node_view<const toml::node>(node)["target"][*problem.target].node();
    }
    if (node != nullptr && node->is_table()) table = node->as_table();
  }
  const toml::node* value = problem.key.empty() ? nullptr : table->get(problem.key);
  return value != nullptr ? &value->source() : &table->source();
}

// The parser's own words on one line.
std::string OneLine(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (absl::ascii_iscntrl(static_cast<unsigned char>(c))) c = ' ';
  }
  return out;
}

}  // namespace

absl::StatusOr<Config> Parse(const std::string& text, const std::string& file) {
  ErrorSink sink(OneLine(file));
  if (text.size() > kMaxFileBytes) {
    sink.Fail(nullptr,
              absl::StrCat("is larger than ", kMaxFileBytes, " bytes; name a fanmirror configuration"));
    return sink.status();
  }
  if (const std::optional<toml::source_region> deep = FindDeepNesting(text)) {
    sink.Fail(&*deep,
              absl::StrCat("is nested more than ", kMaxNesting, " deep; name a fanmirror configuration"));
    return sink.status();
  }
  toml::table root;
  try {
    root = toml::parse(text, file);
  } catch (const toml::parse_error& error) {
    sink.Fail(&error.source(), absl::StrCat(OneLine(error.description()), "; correct the TOML there"));
    return sink.status();
  } catch (const std::exception& error) {
    sink.Fail(nullptr, absl::StrCat("cannot be parsed: ", OneLine(error.what()), "; correct the TOML"));
    return sink.status();
  }
  Config config = ReadConfig(root, &sink);
  if (!sink.failed()) {
    if (const std::optional<Problem> problem = FindProblem(config))
      sink.Fail(Locate(root, *problem), problem->message);
  }
  if (sink.failed()) return sink.status();
  for (Job& job : config.jobs) job.source_missing = MissingSource(job);
  return config;
}

absl::StatusOr<Config> Load(const std::string& file) {
  const absl::StatusOr<std::string> text = ReadText(file);
  if (!text.ok()) {
    ErrorSink sink(OneLine(file));
    sink.Fail(nullptr, Message(text.status()));
    return sink.status();
  }
  return Parse(*text, file);
}

absl::Status CheckJob(const Job& job) {
  const std::optional<Problem> problem = FindProblem(job, 0);
  const std::string message = problem.has_value() ? problem->message : MissingSource(job);
  if (message.empty()) return absl::OkStatus();
  return model::Failure(model::Reaction::kHaltJob, message);
}

}  // namespace fanmirror::config
