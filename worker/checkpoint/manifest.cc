#include "worker/checkpoint/manifest.h"

#include <algorithm>
#include <optional>
#include <set>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "worker/checkpoint/files.h"
#include "worker/checkpoint/json.h"

namespace ballast {
namespace {

constexpr size_t kManifestMax = size_t{256} << 20;

bool Consists(const std::string& text, const char* of) {
  return !text.empty() && text.find_first_not_of(of) == std::string::npos;
}

}  // namespace

absl::StatusOr<CheckpointManifest> ReadManifestText(const std::string& text, const std::string& file) {
  BALLAST_ASSIGN_OR_RETURN(const nlohmann::json in, ParseObject(text, file));
  JsonReader reader(file);
  CheckpointManifest manifest;
  manifest.schema_version = static_cast<int>(reader.Whole(in, "schema_version", 0, 1 << 20));
  if (reader.ok() && manifest.schema_version != kCheckpointSchema) {
    return absl::InvalidArgumentError(absl::StrCat(file, ": schema_version: found ", manifest.schema_version,
                                                   ", this program reads ", kCheckpointSchema));
  }
  manifest.job = JobId(reader.Text(in, "job"));
  manifest.step = Step(reader.Whole(in, "step", 1));
  manifest.generation = Generation(reader.Whole(in, "generation", 0));
  manifest.plan = PlanVersion(reader.Whole(in, "plan", 0));
  std::set<std::string> names;
  for (const nlohmann::json& entry : reader.List(in, "files")) {
    CheckpointFile& out = manifest.files.emplace_back();
    out.name = reader.Text(entry, "name");
    out.bytes = reader.Whole(entry, "bytes", 0);
    out.sha256 = reader.Text(entry, "sha256");
    if (!Consists(out.name, "abcdefghijklmnopqrstuvwxyz0123456789-_.") || out.name[0] == '.' ||
        !names.insert(out.name).second) {
      reader.Complain("files.name", "found what is no name of a checkpoint's file, or one twice");
    }
    if (out.sha256.size() != 64 || !Consists(out.sha256, "0123456789abcdef"))
      reader.Complain("files.sha256", absl::StrCat(out.name, ": found what is not 64 hexadecimal digits"));
  }
  BALLAST_RETURN_IF_ERROR(reader.status());
  return manifest;
}

absl::StatusOr<CheckpointManifest> ReadManifest(const std::string& directory) {
  const std::string file = absl::StrCat(directory, "/", kManifestFile);
  absl::StatusOr<std::string> text = ReadWhole(file, kManifestMax);
  if (absl::IsNotFound(text.status())) {
    return absl::NotFoundError(
        absl::StrCat(directory, ": found no ", kManifestFile, ": this is no complete checkpoint"));
  }
  BALLAST_RETURN_IF_ERROR(text.status());
  return ReadManifestText(*text, file);
}

absl::StatusOr<std::string> FindCheckpoint(const std::string& path) {
  BALLAST_ASSIGN_OR_RETURN(const std::vector<std::string> names, ListDirectory(path));
  if (std::find(names.begin(), names.end(), kManifestFile) != names.end()) return path;
  std::optional<CheckpointKey> newest;
  for (const std::string& name : names) {
    const std::optional<CheckpointKey> key = ParseCheckpointName(name);
    if (!key.has_value() || (newest.has_value() && *key < *newest)) continue;
    absl::StatusOr<std::vector<std::string>> files = ListDirectory(absl::StrCat(path, "/", name));
    if (files.ok() && std::find(files->begin(), files->end(), kManifestFile) != files->end()) newest = key;
  }
  if (newest.has_value()) return absl::StrCat(path, "/", CheckpointName(newest->step, newest->generation));
  return absl::NotFoundError(absl::StrCat(path, ": found neither ", kManifestFile,
                                          " nor a directory step-*-g* with one: no complete checkpoint"));
}

}  // namespace ballast
