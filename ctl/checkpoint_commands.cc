#include "ctl/checkpoint_commands.h"

#include <algorithm>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "ctl/connection.h"
#include "ctl/job_text.h"
#include "ctl/output.h"
#include "wire/convert_plan.h"
#include "wire/message_json.h"
#include "wire/strict_reader.h"
#include "worker/checkpoint/files.h"
#include "worker/checkpoint/manifest.h"
#include "worker/checkpoint/state.h"

namespace ballast {
namespace {

constexpr size_t kStateMax = size_t{1} << 30;

// Until the checkpoint that `request` asked for is complete.
absl::Status WaitForCheckpoint(const Context& context, const ControlClient& client, const std::string& name,
                               int64_t request) {
  v1::ListCheckpointsRequest list;
  list.set_job(name);
  v1::GetJobRequest get;
  get.set_name(name);
  Waiter waiter(client.options());
  while (true) {
    // The state first: a job that has ended then has no checkpoint to come.
    auto job = client.Call(&v1::Control::Stub::GetJob, get);
    auto response = client.Call(&v1::Control::Stub::ListCheckpoints, list);
    if (response.ok()) {
      for (const v1::CheckpointStatus& checkpoint : response->checkpoints()) {
        if (checkpoint.request() < request || checkpoint.state() != v1::CHECKPOINT_STATE_PUBLISHED) continue;
        if (!PrintForPrograms(context, ToJson(checkpoint)))
          context.out << "checkpoint after step " << checkpoint.step() << ": " << checkpoint.directory()
                      << "\n";
        return absl::OkStatus();
      }
    }
    if (response.ok() && job.ok() && IsFinal(job->job().state())) {
      return absl::FailedPreconditionError(
          absl::StrCat("job ", name, " ended without it: ", StateText(job->job())));
    }
    if (!waiter.Again(response.status(), absl::StrCat("a checkpoint of job ", name))) return waiter.result();
  }
}

}  // namespace

absl::Status JobCheckpoint(const Context& context, const JobCheckpointArguments& arguments) {
  BALLAST_ASSIGN_OR_RETURN(ControlClient client, ControlClient::Connect(context.options));
  v1::CheckpointJobRequest request;
  request.set_name(arguments.name);
  BALLAST_ASSIGN_OR_RETURN(v1::CheckpointJobResponse response,
                           client.Call(&v1::Control::Stub::CheckpointJob, request));
  if (arguments.wait) return WaitForCheckpoint(context, client, arguments.name, response.request());
  if (!PrintForPrograms(context, ToJson(response)))
    context.out << "job " << arguments.name << ": checkpoint asked for (request " << response.request()
                << ")\n";
  return absl::OkStatus();
}

absl::Status JobCheckpoints(const Context& context, const std::string& name) {
  BALLAST_ASSIGN_OR_RETURN(ControlClient client, ControlClient::Connect(context.options));
  v1::ListCheckpointsRequest request;
  BALLAST_ASSIGN_OR_RETURN(*request.mutable_job(), JobOrOnlyOne(client, name));
  BALLAST_ASSIGN_OR_RETURN(v1::ListCheckpointsResponse response,
                           client.Call(&v1::Control::Stub::ListCheckpoints, request));
  if (PrintForPrograms(context, ToJson(response)["checkpoints"])) return absl::OkStatus();
  Table table({"STEP", "GENERATION", "PLAN", "STATE", "BYTES", "DIRECTORY"});
  for (const v1::CheckpointStatus& checkpoint : response.checkpoints()) {
    table.Add({absl::StrCat(checkpoint.step()), absl::StrCat(checkpoint.generation()),
               absl::StrCat(checkpoint.plan_version()),
               EnumText(*v1::CheckpointState_descriptor()->FindValueByNumber(checkpoint.state())),
               absl::StrCat(checkpoint.bytes()), checkpoint.directory()});
  }
  table.Print(context.out);
  return absl::OkStatus();
}

absl::StatusOr<v1::Resume> FindResume(const std::string& directory, const JobConfig& job) {
  std::error_code error;
  const std::filesystem::path absolute = std::filesystem::absolute(directory, error);
  if (error) return absl::InvalidArgumentError(absl::StrCat(directory, ": ", error.message()));
  BALLAST_ASSIGN_OR_RETURN(const std::string found, FindCheckpoint(absolute.lexically_normal().string()));
  BALLAST_ASSIGN_OR_RETURN(const CheckpointManifest manifest, ReadManifest(found));
  const std::string state_path = absl::StrCat(found, "/", kStateFile);
  BALLAST_ASSIGN_OR_RETURN(const std::string text, ReadWhole(state_path, kStateMax));
  BALLAST_ASSIGN_OR_RETURN(const CheckpointState state, ReadState(text, state_path));
  BALLAST_RETURN_IF_ERROR(CheckSameModel(state.model, job.model, state_path));
  if (manifest.step != state.step)
    return absl::InvalidArgumentError(absl::StrCat(state_path, ": step: found ", state.step.value(),
                                                   ", the manifest has ", manifest.step.value()));
  v1::Resume resume;
  resume.mutable_checkpoint()->set_directory(found);
  resume.mutable_checkpoint()->set_step(state.step.value());
  Generation generation = manifest.generation;
  absl::StatusOr<std::vector<std::string>> names =
      ListDirectory(std::filesystem::path(found).parent_path().string());
  if (names.ok()) {
    for (const std::string& name : *names) {
      if (std::optional<CheckpointKey> key = ParseCheckpointName(name))
        generation = std::max(generation, key->generation);
    }
  }
  resume.set_generation(generation.value());
  *resume.mutable_plan() = ToProto(state.plan);
  return resume;
}

}  // namespace ballast
