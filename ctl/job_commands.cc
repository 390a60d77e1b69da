#include "ctl/job_commands.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"
#include "coordinator/planner/register.h"
#include "ctl/checkpoint_commands.h"
#include "ctl/connection.h"
#include "ctl/exit_code.h"
#include "ctl/job_text.h"
#include "ctl/output.h"
#include "wire/job_reader.h"
#include "wire/message_json.h"

namespace ballast {
namespace {

absl::StatusOr<JobConfig> ReadJobFile(const std::string& file) {
  auto source = ReadSourceFile(file);
  if (!source.ok()) return BadInput(source.status());
  return ReadJob(*source, Planners().Names());
}

// Until the job has ended: OK when it succeeded.
absl::Status WaitForEnd(const ControlClient& client, const std::string& name) {
  v1::GetJobRequest request;
  request.set_name(name);
  Waiter waiter(client.options());
  while (true) {
    auto response = client.Call(&v1::Control::Stub::GetJob, request);
    if (response.ok() && IsFinal(response->job().state())) return EndOf(response->job());
    if (!waiter.Again(response.status(), absl::StrCat("the end of job ", name))) return waiter.result();
  }
}

void PrintLine(const Context& context, const v1::JobStatus& job) {
  context.out << "job " << job.name() << ": " << StateText(job) << "\n";
}

}  // namespace

absl::Status JobSubmit(const Context& context, const JobSubmitArguments& arguments) {
  BALLAST_ASSIGN_OR_RETURN(JobConfig job, ReadJobFile(arguments.file));
  v1::SubmitJobRequest request;
  if (!arguments.resume.empty()) {
    absl::StatusOr<v1::Resume> resume = FindResume(arguments.resume, job);
    if (!resume.ok()) return BadInput(resume.status());
    *request.mutable_resume() = *std::move(resume);
  }
  if (arguments.dry_run) {
    nlohmann::ordered_json json = ToJson(ResolvedSpec(job));
    // For people the resolved job looks like the file.
    if (!PrintForPrograms(context, json)) context.out << YamlText(json);
    return absl::OkStatus();
  }
  *request.mutable_job() = SpecFromJob(job);
  BALLAST_ASSIGN_OR_RETURN(ControlClient client, ControlClient::Connect(context.options));
  BALLAST_ASSIGN_OR_RETURN(v1::SubmitJobResponse response,
                           client.Call(&v1::Control::Stub::SubmitJob, request));
  if (!PrintForPrograms(context, ToJson(response.job()))) PrintLine(context, response.job());
  context.out.flush();
  return arguments.wait ? WaitForEnd(client, job.name.value()) : absl::OkStatus();
}

absl::Status JobList(const Context& context) {
  BALLAST_ASSIGN_OR_RETURN(ControlClient client, ControlClient::Connect(context.options));
  BALLAST_ASSIGN_OR_RETURN(v1::ListJobsResponse response,
                           client.Call(&v1::Control::Stub::ListJobs, v1::ListJobsRequest()));
  if (PrintForPrograms(context, ToJson(response)["jobs"])) return absl::OkStatus();
  Table table({"NAME", "STATE", "STEP", "PLAN", "TOKENS/S", "ETA", "REASON"});
  for (const v1::JobStatus& job : response.jobs()) {
    table.Add({job.name(), EnumText(*v1::JobState_descriptor()->FindValueByNumber(job.state())),
               absl::StrCat(job.step(), "/", job.steps()), absl::StrCat(job.plan_version()),
               Fixed(job.tokens_per_s(), 0), DurationText(job.eta_s()), job.reason()});
  }
  table.Print(context.out);
  return absl::OkStatus();
}

absl::Status JobGet(const Context& context, const std::string& name) {
  BALLAST_ASSIGN_OR_RETURN(ControlClient client, ControlClient::Connect(context.options));
  v1::GetJobRequest request;
  BALLAST_ASSIGN_OR_RETURN(*request.mutable_name(), JobOrOnlyOne(client, name));
  BALLAST_ASSIGN_OR_RETURN(v1::GetJobResponse response, client.Call(&v1::Control::Stub::GetJob, request));
  nlohmann::ordered_json json = ToJson(response.job());
  json["spec"] = ToJson(response.spec());
  if (!PrintForPrograms(context, json)) PrintJob(context.out, response.job());
  return absl::OkStatus();
}

absl::Status JobStop(const Context& context, const JobStopArguments& arguments) {
  BALLAST_ASSIGN_OR_RETURN(ControlClient client, ControlClient::Connect(context.options));
  v1::StopJobRequest request;
  request.set_name(arguments.name);
  request.set_now(arguments.now);
  BALLAST_ASSIGN_OR_RETURN(v1::StopJobResponse response, client.Call(&v1::Control::Stub::StopJob, request));
  if (!PrintForPrograms(context, ToJson(response.job()))) PrintLine(context, response.job());
  context.out.flush();
  if (!arguments.wait) return absl::OkStatus();
  absl::Status end = WaitForEnd(client, arguments.name);
  // A job that was to end at once counts as FAILED in its books; that is what was asked for.
  return arguments.now && absl::IsInternal(end) ? absl::OkStatus() : end;
}

}  // namespace ballast
