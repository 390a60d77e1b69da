#include "coordinator/generation.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <memory>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "coordinator/device_kind.h"
#include "coordinator/jobs.h"
#include "coordinator/plan_account.h"
#include "coordinator/rollout.h"
#include "plan/carry_over.h"
#include "plan/contiguous.h"

namespace ballast {
namespace {

// Nothing when `ranks` ranks cannot hold the model.
std::optional<PlanBody> FirstPlan(const JobEntry& job, int ranks) {
  absl::StatusOr<PlanBody> body = ContiguousPlan(job.config(), job.layout, ranks);
  if (!body.ok()) return std::nullopt;
  if (!ValidatePlan(*body, job.layout, LimitsFor(job.config(), job.layout, ranks)).ok()) return std::nullopt;
  return *std::move(body);
}

std::optional<Placed> PlaceOn(JobEntry& job, const WorkersOfKind& of) {
  for (int ranks = std::min(of.ranks, job.config().ranks_max()); ranks >= RanksNeeded(job); --ranks) {
    // A job that goes on from a checkpoint has its plan, if that is of as many ranks.
    const PlanBody* given = job.record.first_plan.get();
    std::optional<PlanBody> body = given != nullptr && static_cast<int>(given->speeds.size()) == ranks
                                       ? std::optional(*given)
                                       : FirstPlan(job, ranks);
    if (body.has_value()) return Placed{AssignRanks(of.workers, ranks), *std::move(body)};
  }
  return std::nullopt;
}

}  // namespace

absl::StatusOr<PlanBody> KeptContent(const JobEntry& job, const std::vector<Member>& members) {
  const auto active = job.plans.find(job.record.active);
  if (active == job.plans.end() || active->second.plan->body.speeds.size() != job.generation.members.size()) {
    return absl::NotFoundError("no plan of the last generation is known");
  }
  std::map<std::pair<WorkerId, int>, Rank> places;
  for (const Member& member : job.generation.members)
    places[{member.worker, member.local_rank}] = member.rank;
  std::vector<std::optional<Rank>> from;
  for (const Member& member : members) {
    const auto place = places.find({member.worker, member.local_rank});
    from.push_back(place != places.end() ? std::optional(place->second) : std::nullopt);
  }
  const LoadHistory& history = job.telemetry.history();
  return CarryOver(active->second.plan->body, from,
                   history.observed() > 0 ? history.Forecast() : std::vector<std::vector<int64_t>>(),
                   job.layout, LimitsFor(job.config(), job.layout, static_cast<int>(members.size())));
}

int RanksNeeded(JobEntry& job) {
  // The highest number was checked at submission.
  if (job.ranks_needed == 0) {
    job.ranks_needed = job.config().ranks_min();
    while (job.ranks_needed < job.config().ranks_max() && !FirstPlan(job, job.ranks_needed).has_value())
      ++job.ranks_needed;
  }
  return job.ranks_needed;
}

std::optional<Placed> Place(JobEntry& job, const std::vector<const WorkerEntry*>& workers) {
  RanksNeeded(job);  // known from here on, also when nobody is there: people are told
  for (const WorkersOfKind& of : ByKind(workers, job.record.device)) {
    if (std::optional<Placed> placed = PlaceOn(job, of)) return placed;
  }
  return std::nullopt;
}

std::optional<CheckpointRef> CheckpointToLoad(const JobEntry& job) {
  const CheckpointRecord* newest = job.newest_checkpoint();
  if (newest != nullptr) return CheckpointRef{newest->directory, newest->step};
  return job.record.resume;
}

void BeginGeneration(Env& env, JobEntry& job, Placed placed, const std::optional<RollForward>& forward) {
  const bool first = job.record.generation.value() == 0;
  GenerationRecord generation;
  generation.job = job.name();
  generation.generation = std::max(job.record.generation, job.record.resume_generation).Next();
  generation.members = std::move(placed.members);
  const PlantedBugs& bugs = env.options.bugs;
  generation.plan = Planted(bugs, PlantedBug::kVersionReused) && !first ? job.record.active
                                                                        : job.record.last_version.Next();
  if (forward.has_value()) {
    generation.retained = job.generation.generation;
  } else {
    const bool forget =
        Planted(bugs, PlantedBug::kResumeForgotten) && !first && job.newest_checkpoint() == nullptr;
    if (!forget) generation.checkpoint = CheckpointToLoad(job);
  }
  if (!forward.has_value() && Planted(bugs, PlantedBug::kUnpublishedLoaded) &&
      job.record.last_request_kind == RequestKind::kDrain && job.drained_step.value() > 0) {
    generation.checkpoint =
        CheckpointRef{absl::StrFormat("%s/step-%09d-g%d", job.name().value(), job.drained_step.value(),
                                      job.record.generation.value()),
                      job.drained_step};
  }
  Step completed = generation.checkpoint.has_value() ? generation.checkpoint->step : Step(0);
  if (forward.has_value()) completed = forward->step;
  generation.start_step = completed.Next();
  if (Planted(bugs, PlantedBug::kStepFromStore)) generation.start_step = job.record.step.Next();
  if (Planted(bugs, PlantedBug::kResumedEarlier) && completed.value() > 1 &&
      (forward.has_value() || job.record.last_request_kind == RequestKind::kDrain))
    generation.start_step = completed;

  auto plan = std::make_shared<Plan>();
  plan->stamp =
      PlanStamp{job.name(), generation.generation, generation.plan, PlanVersion(), generation.start_step};
  plan->body = std::move(placed.body);
  PlanRecord record;
  record.plan = plan;
  record.digest = Digest(*plan);
  record.state = PlanState::kCommitted;
  record.origin = first ? PlanOrigin::kFirst : PlanOrigin::kRecovery;
  record.proposed_unix_ms = env.now.unix_ms;

  const int ranks = static_cast<int>(generation.members.size());
  job.record.state = first ? JobState::kStarting : JobState::kRecovering;
  if (first) {
    job.record.reason.clear();
  } else {
    job.record.reason =
        absl::StrCat(job.generation.reason, "; generation ", generation.generation.value(),
                     " goes on with step ", generation.start_step.value(), " on ", ranks, " ranks, from ",
                     forward.has_value()                 ? "what they hold"
                     : generation.checkpoint.has_value() ? generation.checkpoint->directory
                                                         : "initial weights");
  }
  job.record.generation = generation.generation;
  if (job.record.device.empty())
    job.record.device = DeviceKind(env.workers.Find(generation.members.front().worker)->hello);
  job.record.last_version = std::max(job.record.last_version, generation.plan);
  job.record.active = generation.plan;
  // What was asked of the generation before is asked of this one when it is its continuation, unless that is
  // where its ranks have ended; otherwise only a stop is.
  const bool asked = forward.has_value() && job.drained_step.value() == 0;
  if (job.record.last_request_kind != RequestKind::kStop && !asked) {
    job.record.last_request_kind = RequestKind::kNone;
    job.record.request_reason.clear();
  }
  if (!job.record.recoveries.empty() && job.record.recoveries.back().lost == job.generation.generation)
    job.record.recoveries.back().from = completed;
  job.telemetry.ForgetAfter(completed, job.record);
  job.last_look = completed;
  job.freeze.reset();
  job.record.first_plan = nullptr;
  const StoreWrite durable{{env.term, {job.record, record, generation}}};
  if (!Planted(bugs, PlantedBug::kAssignBeforeStore)) env.actions.push_back(durable);
  job.plans[generation.plan] = std::move(record);
  UseGeneration(job, std::move(generation));
  std::set<std::string> told;
  for (const auto& [name, incarnation] : job.processes) told.insert(name.value());
  env.Tell(
      job, JobEvent::Kind::kMember,
      absl::StrCat("generation ", job.record.generation.value(), ": ", ranks, " ranks on ", FirstOf(told)),
      job.record.step);
  TellState(env, job);
  const auto assign = std::make_shared<const CoordinatorMessage>(AssignOf(env, job));
  for (const auto& [name, incarnation] : job.processes) {
    WorkerEntry& worker = *env.workers.Find(name);
    worker.step = completed;
    worker.active = job.generation.plan;
    env.Send(worker.stream, assign);
  }
  if (job.record.last_request_kind != RequestKind::kNone)
    env.SendToMembers(job,
                      StepRequest{env.StampOf(job), job.record.last_request, job.record.last_request_kind});
  if (Planted(bugs, PlantedBug::kAssignBeforeStore)) env.actions.push_back(durable);
}

std::string FirstOf(const std::set<std::string>& names) {
  constexpr size_t kNamed = 8;
  const size_t named = std::min(names.size(), kNamed);
  std::string text =
      absl::StrJoin(names.begin(), std::next(names.begin(), static_cast<ptrdiff_t>(named)), ", ");
  if (named < names.size()) absl::StrAppend(&text, " and ", names.size() - named, " more");
  return text;
}

void TellDropped(Env& env, JobEntry& job, PlanVersion dropped) {
  if (dropped.value() == 0) return;
  const PlanRecord& plan = job.plans.at(dropped);
  env.Tell(job, JobEvent::Kind::kPlan,
           absl::StrCat("plan ", dropped.value(),
                        plan.state == PlanState::kSuperseded ? " superseded: " : " aborted: ", plan.outcome),
           job.record.step, dropped);
}

std::vector<RecordWrite> EndGeneration(JobEntry& job, const std::string& outcome) {
  job.record.wanted_homes.clear();
  std::vector<RecordWrite> writes = EndRollout(job, outcome);
  for (RecordWrite& measured : CompleteMeasure(job)) writes.push_back(std::move(measured));
  if (!job.assigned()) return writes;
  job.generation.ended = true;
  job.generation.reason = outcome;
  writes.push_back(job.generation);
  PlanRecord& first = job.plans.at(job.generation.plan);
  if (first.state == PlanState::kCommitted) {
    first.state = PlanState::kSuperseded;
    first.outcome = outcome;
    writes.push_back(first);
  }
  job.rendezvous = Rendezvous();
  job.rejected.clear();
  return writes;
}

}  // namespace ballast
