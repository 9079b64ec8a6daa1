#include "replicate/identity.h"

#include <string_view>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "model/failure.h"
#include "replicate/state_file.h"

namespace fanmirror::replicate {
namespace {

constexpr std::string_view kIdentityHeader = "fanmirror-identity 1\n";
constexpr std::string_view kAdoptionHeader = "fanmirror-adoption 1\n";

std::string IdentityPath(const std::string& state_dir) { return state_dir + "/identity"; }
std::string AdoptionPath(const std::string& state_dir) { return state_dir + "/adoption"; }

absl::Status Damaged(const std::string& path) {
  return model::Failure(model::Reaction::kHaltJob,
                        absl::StrCat("read ", model::QuotePath(path),
                                     ": it does not parse; have the target taken over anew with fanmirror adopt"));
}

// The lines "root=HEX" and "filesystem=TEXT".
std::string Format(const SourceIdentity& source) {
  return absl::StrCat("root=", absl::BytesToHexString(source.root.Encode()), "\nfilesystem=", source.filesystem, "\n");
}

std::optional<std::string_view> TakeLine(std::string_view key, std::string_view* text) {
  if (!text->starts_with(key)) return std::nullopt;
  const std::size_t end = text->find('\n');
  if (end == std::string_view::npos) return std::nullopt;
  const std::string_view value = text->substr(key.size(), end - key.size());
  text->remove_prefix(end + 1);
  return value;
}

std::optional<SourceIdentity> TakeSource(std::string_view* text) {
  const auto root = TakeLine("root=", text);
  const auto filesystem = root ? TakeLine("filesystem=", text) : std::nullopt;
  if (!filesystem) return std::nullopt;
  const std::string bytes = absl::HexStringToBytes(std::string(*root));
  std::string_view rest = bytes;
  const auto id = model::FileId::Consume(&rest);
  if (!id || !rest.empty() || absl::BytesToHexString(bytes) != std::string(*root)) return std::nullopt;
  return SourceIdentity{*id, std::string(*filesystem)};
}

}  // namespace

absl::StatusOr<std::optional<Identity>> ReadIdentity(const std::string& state_dir) {
  const std::string path = IdentityPath(state_dir);
  const auto stored = ReadStateFile(path);
  if (!stored.ok()) return stored.status();
  if (!*stored) return std::nullopt;
  std::string_view text = **stored;
  if (!text.starts_with(kIdentityHeader)) return Damaged(path);
  text.remove_prefix(kIdentityHeader.size());
  const auto instance = TakeLine("instance=", &text);
  auto source = instance ? TakeSource(&text) : std::nullopt;
  const auto established = source ? TakeLine("established=", &text) : std::nullopt;
  if (!established || (*established != "0" && *established != "1") || instance->empty() || !text.empty()) {
    return Damaged(path);
  }
  return Identity{std::string(*instance), *std::move(source), *established == "1"};
}

absl::Status WriteIdentity(const std::string& state_dir, const Identity& identity) {
  return WriteStateFile(IdentityPath(state_dir),
                        absl::StrCat(std::string(kIdentityHeader), "instance=", identity.instance, "\n",
                                     Format(identity.source), "established=", identity.established ? 1 : 0, "\n"));
}

absl::StatusOr<std::optional<SourceIdentity>> ReadAdoption(const std::string& state_dir) {
  const std::string path = AdoptionPath(state_dir);
  const auto stored = ReadStateFile(path);
  if (!stored.ok()) return stored.status();
  if (!*stored) return std::nullopt;
  std::string_view text = **stored;
  if (!text.starts_with(kAdoptionHeader)) return Damaged(path);
  text.remove_prefix(kAdoptionHeader.size());
  auto source = TakeSource(&text);
  if (!source || !text.empty()) return Damaged(path);
  return source;
}

absl::Status WriteAdoption(const std::string& state_dir, const SourceIdentity& source) {
  return WriteStateFile(AdoptionPath(state_dir), absl::StrCat(std::string(kAdoptionHeader), Format(source)));
}

absl::Status RemoveAdoption(const std::string& state_dir) { return RemoveStateFile(AdoptionPath(state_dir)); }

absl::StatusOr<Fit> FitOf(const std::string& state_dir, const SourceIdentity& source) {
  const auto adoption = ReadAdoption(state_dir);
  if (!adoption.ok()) return adoption.status();
  if (*adoption == source) return Fit::kAdopted;
  const auto identity = ReadIdentity(state_dir);
  if (!identity.ok()) return identity.status();
  if (!*identity) return Fit::kNew;
  return (*identity)->source == source ? Fit::kSame : Fit::kAnother;
}

}  // namespace fanmirror::replicate
