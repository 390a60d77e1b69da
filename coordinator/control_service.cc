#include "coordinator/control_service.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "coordinator/access.h"
#include "coordinator/status_proto.h"
#include "coordinator/watch_stream.h"
#include "net/grpc_status.h"
#include "protocol/version.h"
#include "wire/convert_explanation.h"
#include "wire/convert_plan.h"
#include "wire/job_reader.h"
#include "wire/plan_file.h"

namespace ballast {
namespace {

constexpr char kService[] = "/ballast.v1.Control/";

absl::Status Overloaded() { return absl::UnavailableError("the coordinator is stopping or overloaded"); }

std::string Who(const Identity& identity) { return absl::StrCat(Name(identity.role), "/", identity.name); }

absl::Status FillPush(const Reply& reply, v1::PushPlanResponse* response) {
  *response->mutable_plan() = ToProto(reply.plan);
  response->set_summary(reply.text);
  return absl::OkStatus();
}

absl::Status ReadResume(const v1::SubmitJobRequest& request, SubmitJob& submit) {
  if (!request.has_resume()) return absl::OkStatus();
  const v1::Resume& resume = request.resume();
  if (resume.checkpoint().directory().empty() || resume.checkpoint().step() < 1 || resume.generation() < 0) {
    return absl::InvalidArgumentError("resume: found no directory, step or generation of a checkpoint");
  }
  submit.resume = CheckpointRef{resume.checkpoint().directory(), Step(resume.checkpoint().step())};
  submit.resume_generation = Generation(resume.generation());
  if (!resume.has_plan()) return absl::OkStatus();
  BALLAST_ASSIGN_OR_RETURN(PlanBody plan, FromProto(resume.plan()));
  submit.resume_plan = std::make_shared<const PlanBody>(std::move(plan));
  return absl::OkStatus();
}

absl::Status FillWorker(const Core& core, const WorkerId& name, v1::WorkerStatus* out) {
  for (const WorkerStatus& worker : core.Workers()) {
    if (worker.name == name) *out = ToProto(worker);
  }
  return absl::OkStatus();
}

}  // namespace

ControlService::Reactor* ControlService::Read(Context* context, const char* method,
                                              std::function<absl::Status(const Core&)> read) {
  Reactor* reactor = context->DefaultReactor();
  absl::StatusOr<Identity> identity = Admit(*context, absl::StrCat(kService, method), options_.insecure);
  if (!identity.ok()) {
    reactor->Finish(ToGrpc(identity.status()));
    return reactor;
  }
  bool posted = driver_->Read([reactor, read = std::move(read)](const Core* core) {
    reactor->Finish(ToGrpc(core == nullptr ? Overloaded() : read(*core)));
  });
  if (!posted) reactor->Finish(ToGrpc(Overloaded()));
  return reactor;
}

ControlService::Reactor* ControlService::Ask(
    Context* context, const char* method,
    std::function<Event(ReplyToken token, const std::string& who)> make_event,
    std::function<absl::Status(const Reply&, const Core&)> fill) {
  Reactor* reactor = context->DefaultReactor();
  absl::StatusOr<Identity> identity = Admit(*context, absl::StrCat(kService, method), options_.insecure);
  if (!identity.ok()) {
    reactor->Finish(ToGrpc(identity.status()));
    return reactor;
  }
  bool posted = driver_->Ask([who = Who(*identity), make_event = std::move(make_event)](
                                 ReplyToken token) { return make_event(token, who); },
                             [reactor, fill = std::move(fill)](const Reply& reply, const Core& core) {
                               reactor->Finish(ToGrpc(reply.status.ok() ? fill(reply, core) : reply.status));
                             });
  if (!posted) reactor->Finish(ToGrpc(Overloaded()));
  return reactor;
}

ControlService::Reactor* ControlService::SubmitJob(Context* context, const v1::SubmitJobRequest* request,
                                                   v1::SubmitJobResponse* response) {
  absl::StatusOr<JobConfig> job = JobFromSpec(request->job(), options_.planners);
  if (!job.ok()) {
    // Through Read, so that who may not submit learns nothing about the content.
    return Read(context, "SubmitJob", [status = job.status()](const Core&) { return status; });
  }
  ballast::SubmitJob submit;
  submit.config = std::make_shared<const JobConfig>(*std::move(job));
  absl::Status resume = ReadResume(*request, submit);
  if (!resume.ok()) return Read(context, "SubmitJob", [resume](const Core&) { return resume; });
  return Ask(
      context, "SubmitJob",
      [submit](ReplyToken token, const std::string&) {
        ballast::SubmitJob event = submit;
        event.reply = token;
        return event;
      },
      [response](const Reply& reply, const Core& core) -> absl::Status {
        BALLAST_ASSIGN_OR_RETURN(JobStatus status, core.Job(reply.job));
        *response->mutable_job() = ToProto(status, true);
        return absl::OkStatus();
      });
}

ControlService::Reactor* ControlService::ListJobs(Context* context, const v1::ListJobsRequest*,
                                                  v1::ListJobsResponse* response) {
  return Read(context, "ListJobs", [response](const Core& core) {
    for (const JobStatus& job : core.Jobs()) *response->add_jobs() = ToProto(job, false);
    return absl::OkStatus();
  });
}

ControlService::Reactor* ControlService::GetJob(Context* context, const v1::GetJobRequest* request,
                                                v1::GetJobResponse* response) {
  return Read(context, "GetJob", [request, response](const Core& core) -> absl::Status {
    BALLAST_ASSIGN_OR_RETURN(JobStatus job, core.Job(JobId(request->name())));
    *response->mutable_job() = ToProto(job, true);
    *response->mutable_spec() = SpecFromJob(*job.record.config);
    return absl::OkStatus();
  });
}

grpc::ServerWriteReactor<v1::JobEvent>* ControlService::WatchJob(Context* context,
                                                                 const v1::WatchJobRequest* request) {
  auto stream = std::make_shared<WatchStream>();
  stream->Begin();
  absl::StatusOr<Identity> identity = Admit(*context, absl::StrCat(kService, "WatchJob"), options_.insecure);
  if (!identity.ok()) {
    stream->End(identity.status());
  } else if (!driver_->Watch(JobId(request->name()), stream)) {
    stream->End(Overloaded());
  }
  return stream.get();  // it owns itself until OnDone
}

ControlService::Reactor* ControlService::CheckpointJob(Context* context,
                                                       const v1::CheckpointJobRequest* request,
                                                       v1::CheckpointJobResponse* response) {
  return Ask(
      context, "CheckpointJob",
      [job = JobId(request->name())](ReplyToken token, const std::string& who) {
        return RequestCheckpoint{.reply = token, .job = job, .who = who};
      },
      [response](const Reply& reply, const Core& core) -> absl::Status {
        BALLAST_ASSIGN_OR_RETURN(JobStatus status, core.Job(reply.job));
        response->set_request(status.record.last_request.value());
        return absl::OkStatus();
      });
}

ControlService::Reactor* ControlService::ListCheckpoints(Context* context,
                                                         const v1::ListCheckpointsRequest* request,
                                                         v1::ListCheckpointsResponse* response) {
  return Read(context, "ListCheckpoints", [request, response](const Core& core) -> absl::Status {
    BALLAST_ASSIGN_OR_RETURN(std::vector<CheckpointRecord> checkpoints,
                             core.Checkpoints(JobId(request->job())));
    for (const CheckpointRecord& checkpoint : checkpoints) *response->add_checkpoints() = ToProto(checkpoint);
    return absl::OkStatus();
  });
}

ControlService::Reactor* ControlService::StopJob(Context* context, const v1::StopJobRequest* request,
                                                 v1::StopJobResponse* response) {
  return Ask(
      context, "StopJob",
      [job = JobId(request->name()), now = request->now()](ReplyToken token, const std::string& who) {
        return ballast::StopJob{.reply = token, .job = job, .who = who, .now = now};
      },
      [response](const Reply& reply, const Core& core) -> absl::Status {
        BALLAST_ASSIGN_OR_RETURN(JobStatus status, core.Job(reply.job));
        *response->mutable_job() = ToProto(status, true);
        return absl::OkStatus();
      });
}

ControlService::Reactor* ControlService::ListEvents(Context* context, const v1::ListEventsRequest* request,
                                                    v1::ListEventsResponse* response) {
  return Read(context, "ListEvents", [request, response](const Core& core) -> absl::Status {
    BALLAST_ASSIGN_OR_RETURN(std::vector<JobEvent> events, core.Events(JobId(request->job())));
    BALLAST_ASSIGN_OR_RETURN(JobStatus job, core.Job(JobId(request->job())));
    response->set_final(IsFinal(job.record.state));
    if (!events.empty()) response->set_dropped(events.front().number - 1);
    for (const JobEvent& event : events) {
      if (event.number <= request->after() || event.unix_ms < request->since_unix_ms()) continue;
      *response->add_events() = ToProto(event);
    }
    return absl::OkStatus();
  });
}

ControlService::Reactor* ControlService::ListPlans(Context* context, const v1::ListPlansRequest* request,
                                                   v1::ListPlansResponse* response) {
  return Read(context, "ListPlans", [request, response](const Core& core) -> absl::Status {
    BALLAST_ASSIGN_OR_RETURN(std::vector<PlanRecord> plans, core.Plans(JobId(request->job())));
    for (const PlanRecord& plan : plans) *response->add_plans() = ToProto(plan);
    return absl::OkStatus();
  });
}

ControlService::Reactor* ControlService::GetPlan(Context* context, const v1::GetPlanRequest* request,
                                                 v1::GetPlanResponse* response) {
  return Read(context, "GetPlan", [request, response](const Core& core) -> absl::Status {
    BALLAST_ASSIGN_OR_RETURN(PlanRecord plan,
                             core.PlanOf(JobId(request->job()), PlanVersion(request->version())));
    *response->mutable_status() = ToProto(plan);
    *response->mutable_plan() = ToProto(*plan.plan);
    return absl::OkStatus();
  });
}

ControlService::Reactor* ControlService::ExplainPlan(Context* context, const v1::ExplainPlanRequest* request,
                                                     v1::ExplainPlanResponse* response) {
  return Read(context, "ExplainPlan", [request, response](const Core& core) -> absl::Status {
    BALLAST_ASSIGN_OR_RETURN(PlanAccount account,
                             core.Explain(JobId(request->job()), PlanVersion(request->version())));
    *response->mutable_plan() = ToProto(account.plan);
    if (account.explanation) *response->mutable_explanation() = ToProto(*account.explanation);
    *response->mutable_measured() = ToProto(account.measured);
    if (account.last_look) *response->mutable_last_look() = ToProto(*account.last_look);
    return absl::OkStatus();
  });
}

ControlService::Reactor* ControlService::PushPlan(Context* context, const v1::PushPlanRequest* request,
                                                  v1::PushPlanResponse* response) {
  return Ask(
      context, "PushPlan",
      [request](ReplyToken token, const std::string& who) {
        const v1::PlanFile& file = request->plan();
        return ballast::PushPlan{
            .reply = token,
            .job = JobId(request->job()),
            .base_version = PlanVersion(file.base_version()),
            .not_before_step = Step(file.not_before_step()),
            .reason = file.reason(),
            .edit = [file](const PlanBody& base,
                           const JobConfig& job) { return ApplyPlanFile(file, base, job); },
            .dry_run = request->dry_run(),
            .who = who};
      },
      [response](const Reply& reply, const Core&) { return FillPush(reply, response); });
}

ControlService::Reactor* ControlService::RollbackPlan(Context* context,
                                                      const v1::RollbackPlanRequest* request,
                                                      v1::PushPlanResponse* response) {
  return Ask(
      context, "RollbackPlan",
      [job = JobId(request->job()), to = PlanVersion(request->to_version())](ReplyToken token,
                                                                             const std::string& who) {
        return ballast::RollbackPlan{.reply = token, .job = job, .to = to, .who = who};
      },
      [response](const Reply& reply, const Core&) { return FillPush(reply, response); });
}

ControlService::Reactor* ControlService::ListWorkers(Context* context, const v1::ListWorkersRequest*,
                                                     v1::ListWorkersResponse* response) {
  return Read(context, "ListWorkers", [response](const Core& core) {
    for (const WorkerStatus& worker : core.Workers()) *response->add_workers() = ToProto(worker);
    return absl::OkStatus();
  });
}

ControlService::Reactor* ControlService::DrainWorker(Context* context, const v1::DrainWorkerRequest* request,
                                                     v1::DrainWorkerResponse* response) {
  const WorkerId worker(request->name());
  return Ask(
      context, "DrainWorker",
      [worker](ReplyToken token, const std::string& who) {
        return ballast::DrainWorker{.reply = token, .worker = worker, .who = who};
      },
      [worker, response](const Reply&, const Core& core) {
        return FillWorker(core, worker, response->mutable_worker());
      });
}

ControlService::Reactor* ControlService::CordonWorker(Context* context,
                                                      const v1::CordonWorkerRequest* request,
                                                      v1::CordonWorkerResponse* response) {
  const WorkerId worker(request->name());
  return Ask(
      context, "CordonWorker",
      [worker, cordon = !request->uncordon()](ReplyToken token, const std::string& who) {
        return ballast::CordonWorker{.reply = token, .worker = worker, .cordon = cordon, .who = who};
      },
      [worker, response](const Reply&, const Core& core) {
        return FillWorker(core, worker, response->mutable_worker());
      });
}

ControlService::Reactor* ControlService::Adopt(Context* context, const v1::AdoptRequest*,
                                               v1::AdoptResponse* response) {
  return Ask(
      context, "Adopt",
      [](ReplyToken token, const std::string& who) { return ballast::Adopt{.reply = token, .who = who}; },
      [response](const Reply& reply, const Core&) {
        response->set_term(reply.term.value());
        return absl::OkStatus();
      });
}

ControlService::Reactor* ControlService::ListStrategies(Context* context, const v1::ListStrategiesRequest*,
                                                        v1::ListStrategiesResponse* response) {
  return Read(context, "ListStrategies", [this, response](const Core&) {
    *response = options_.strategies;
    return absl::OkStatus();
  });
}

ControlService::Reactor* ControlService::GetVersion(Context* context, const v1::GetVersionRequest*,
                                                    v1::GetVersionResponse* response) {
  return Read(context, "GetVersion", [response](const Core& core) {
    LeaderStatus leader = core.Leader();
    response->set_version(kVersion);
    response->set_protocol_version(kProtocolVersion);
    response->set_term(leader.term.value());
    response->set_leading(leader.leading());
    response->set_refusing(leader.refusing);
    return absl::OkStatus();
  });
}

}  // namespace ballast
