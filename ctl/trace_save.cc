#include "ctl/trace_save.h"

#include <limits>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "ctl/connection.h"
#include "ctl/job_text.h"
#include "ctl/output.h"
#include "ctl/tokens_save.h"
#include "ctl/write_file.h"
#include "replay/npy.h"

namespace ballast {
namespace {

constexpr int64_t kLateSteps = 64;  // how far back reports are looked for that came late

// What the coordinator keeps beyond `loads`, added to them; `step` is the newest. One request for each layer
// keeps answers small; a step counts when every layer has it.
absl::Status Fetch(const ControlClient& client, const std::string& job, int layers, int64_t step,
                   LoadsByStep& loads) {
  LoadsByStep news;
  // A generation that goes back to a checkpoint trains the steps behind it again; those count.
  const int64_t wanted = loads.empty() || step < loads.rbegin()->first
                             ? std::numeric_limits<int32_t>::max()
                             : step - loads.rbegin()->first + kLateSteps;
  for (int l = 0; l < layers; ++l) {
    v1::GetLoadRequest request;
    request.set_job(job);
    request.set_layer(l);
    request.set_steps(wanted);
    BALLAST_ASSIGN_OR_RETURN(v1::GetLoadResponse response, client.Call(&v1::Control::Stub::GetLoad, request));
    for (const v1::StepLoadStatus& load : response.steps()) {
      std::vector<std::vector<int64_t>>& of_step = news[load.step()];
      if (of_step.size() != static_cast<size_t>(l) || load.layers_size() != 1) continue;
      of_step.emplace_back(load.layers(0).expert_tokens().begin(), load.layers(0).expert_tokens().end());
    }
  }
  for (auto& [number, of_step] : news) {
    if (of_step.size() == static_cast<size_t>(layers)) loads[number] = std::move(of_step);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::string> LoadsArray(const LoadsByStep& loads) {
  if (loads.empty()) return absl::FailedPreconditionError("the coordinator keeps no step of this job");
  const std::vector<std::vector<int64_t>>& first = loads.begin()->second;
  const size_t layers = first.size(), experts = first.empty() ? 0 : first[0].size();
  std::string bytes = NpyHeader(4, {static_cast<int64_t>(loads.size()), static_cast<int64_t>(layers), 1,
                                    static_cast<int64_t>(experts)});
  for (const auto& [step, of_step] : loads) {
    if (of_step.size() != layers) {
      return absl::InvalidArgumentError(
          absl::StrCat("step ", step, ": found ", of_step.size(), " layers, allowed is ", layers));
    }
    for (const std::vector<int64_t>& layer : of_step) {
      if (layer.size() != experts) {
        return absl::InvalidArgumentError(
            absl::StrCat("step ", step, ": found ", layer.size(), " experts, allowed is ", experts));
      }
      for (int64_t count : layer) {
        if (count < 0 || count > std::numeric_limits<uint32_t>::max()) {
          return absl::InvalidArgumentError(absl::StrCat("step ", step, ": found ", count, ", allowed is 0..",
                                                         std::numeric_limits<uint32_t>::max()));
        }
        for (int shift = 0; shift < 32; shift += 8) bytes += static_cast<char>(count >> shift & 0xff);
      }
    }
  }
  return bytes;
}

absl::Status TraceSave(const Context& context, const TraceSaveArguments& arguments) {
  BALLAST_ASSIGN_OR_RETURN(ControlClient client, ControlClient::Connect(context.options));
  v1::GetJobRequest request;
  BALLAST_ASSIGN_OR_RETURN(*request.mutable_name(), JobOrOnlyOne(client, arguments.name));
  LoadsByStep loads;
  Waiter waiter(context.options);
  while (true) {
    absl::StatusOr<v1::GetJobResponse> job = client.Call(&v1::Control::Stub::GetJob, request);
    absl::Status status = job.status();
    if (job.ok())
      status = Fetch(client, request.name(), job->spec().model().layers(), job->job().step(), loads);
    const bool done = status.ok() && (!arguments.follow || IsFinal(job->job().state()));
    if (done) break;
    if (!waiter.Again(status, absl::StrCat("job ", request.name()))) return waiter.result();
  }
  BALLAST_ASSIGN_OR_RETURN(std::string bytes, LoadsArray(loads));
  // First: what was followed for hours must not go where the job has no tokens.
  BALLAST_RETURN_IF_ERROR(WriteFileByRename(arguments.out, bytes, 0644));
  SavedTokens tokens;
  if (!arguments.tokens.empty()) {
    BALLAST_ASSIGN_OR_RETURN(tokens, FetchTokens(client, request.name()));
    BALLAST_ASSIGN_OR_RETURN(std::string token_bytes, TokensArray(tokens));
    BALLAST_RETURN_IF_ERROR(WriteFileByRename(arguments.tokens, token_bytes, 0644));
  }
  const int64_t first = loads.begin()->first, last = loads.rbegin()->first;
  const int64_t missing = last - first + 1 - static_cast<int64_t>(loads.size());
  nlohmann::ordered_json saved = {{"out", arguments.out},
                                  {"steps", loads.size()},
                                  {"first_step", first},
                                  {"last_step", last},
                                  {"missing", missing}};
  if (!arguments.tokens.empty()) {
    saved["tokens"] = arguments.tokens;
    saved["sequences"] = tokens.sequences.size();
    saved["sequence_length"] = tokens.length;
  }
  if (PrintForPrograms(context, saved)) return absl::OkStatus();
  context.out << arguments.out << ": " << loads.size() << " steps, " << first << " to " << last;
  if (missing > 0) context.out << "; " << missing << " between them were never reported";
  context.out << "\n";
  if (!arguments.tokens.empty()) {
    context.out << arguments.tokens << ": " << tokens.sequences.size() << " sequences of " << tokens.length
                << " tokens\n";
  }
  return absl::OkStatus();
}

}  // namespace ballast
