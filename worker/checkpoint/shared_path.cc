#include "worker/checkpoint/shared_path.h"

#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status_macros.h"
#include "protocol/checkpoint.h"
#include "worker/checkpoint/files.h"

namespace ballast {
namespace {

constexpr char kKey[] = "checkpoint-token";
constexpr size_t kTokenMax = 4096;

absl::Status CannotUse(const Assign& assign, Rank self, const std::string& why, const std::string& advice) {
  return absl::FailedPreconditionError(absl::StrCat(
      "checkpoint.path: worker ", assign.members[self.index()].worker.value(), ": ", why, "; ", advice));
}

absl::Status WriteToken(const Assign& assign, const std::string& folder, const std::string& file,
                        const std::string& token) {
  absl::Status made = MakeDirectories(folder);
  if (made.ok()) made = WriteDurably(file, {token}).status();
  if (!made.ok()) {
    return CannotUse(assign, Rank(0), std::string(made.message()),
                     "let it be writable for every worker, or choose another directory");
  }
  BALLAST_ASSIGN_OR_RETURN(const std::vector<std::string> names, ListDirectory(folder));
  for (const std::string& name : names) {
    const std::optional<CheckpointKey> key = ParseCheckpointName(name);
    if (key.has_value() && key->generation >= assign.stamp.generation) {
      return CannotUse(assign, Rank(0),
                       absl::StrCat(folder, "/", name, " was written by another run of a job of this name"),
                       "submit with --resume to go on from it, or choose another name or path");
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ProveSharedPath(const Assign& assign, Rank self, RendezvousStore& rendezvous, Time deadline) {
  const std::string& path = assign.job->checkpoint.path;
  const std::string folder = CheckpointFolder(path, assign.job->name);
  const std::string file = absl::StrCat(folder, "/token-g", assign.stamp.generation.value());
  const std::string token = absl::StrFormat("%016x\n", assign.members[0].incarnation.value());
  if (self == Rank(0)) {
    // After a refusal nothing is put: the others wait until they are told that the generation is over, so
    // that rank 0's reason is the one that is told.
    BALLAST_RETURN_IF_ERROR(WriteToken(assign, folder, file, token));
    return rendezvous.Put(kKey, "written");
  }
  BALLAST_RETURN_IF_ERROR(rendezvous.Get(kKey, deadline).status());
  const std::string advice = absl::StrCat("all workers must see one directory there, as worker ",
                                          assign.members[0].worker.value(), " of rank 0 does");
  absl::StatusOr<std::string> found = ReadWhole(file, kTokenMax);
  if (!found.ok()) return CannotUse(assign, self, std::string(found.status().message()), advice);
  if (*found != token)
    return CannotUse(assign, self, absl::StrCat(file, ": found another run's token"), advice);
  if (access(folder.c_str(), W_OK) != 0)
    return CannotUse(assign, self, std::string(FileError(errno, "write to", folder).message()), advice);
  return absl::OkStatus();
}

}  // namespace ballast
