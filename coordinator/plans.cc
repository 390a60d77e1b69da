#include "coordinator/plans.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "coordinator/job_schedule.h"
#include "coordinator/plan_account.h"
#include "coordinator/planner/accept.h"
#include "coordinator/planner/register.h"
#include "plan/diff.h"
#include "plan/home_moves.h"

namespace ballast {
namespace {

// Staged and committed within the next step at best, a plan is active two steps later: nearer to the job's
// end it is of no use.
constexpr int64_t kStepsToSwitch = 3;

// A content as someone wants it.
struct Wanted {
  PlanBody body;
  Step not_before_step;
  PlanOrigin origin = PlanOrigin::kPushed;
  std::optional<Explanation> explanation;  // of the planner; nothing: what is known is put together
};

// Everything that can be said against the content now; the plan that may be proposed otherwise. Homes go as
// far as one plan may move them, the rest follows in later plans.
absl::StatusOr<NewPlan> Prepare(const Env& env, const JobEntry& job, Wanted wanted) {
  const PlanBody& base = job.active().plan->body;
  // While a plan waits for its step no other one can be proposed: it may not wait for long.
  const int64_t ahead = env.options.not_before_ahead_max;
  const int64_t last_step = job.config().training.steps;
  const int64_t latest = std::min(last_step, job.record.step.value() + ahead);
  if (wanted.not_before_step.value() < 0 || wanted.not_before_step.value() > latest) {
    return absl::InvalidArgumentError(
        absl::StrCat("not_before_step: found ", wanted.not_before_step.value(), ", allowed 0..", latest,
                     latest == last_step ? " (the job's last step)"
                                         : absl::StrCat(" (", ahead, " steps after the last report)")));
  }
  BALLAST_RETURN_IF_ERROR(ValidatePlan(wanted.body, job.layout, job.limits));
  NewPlan next{.body = std::move(wanted.body),
               .not_before_step = wanted.not_before_step,
               .origin = wanted.origin,
               .wanted_homes = {}};
  std::vector<Rank> homes = BoundHomeMoves(base.homes, next.body.homes, job.layout, job.limits);
  if (homes != next.body.homes) next.wanted_homes = std::exchange(next.body.homes, std::move(homes));
  BALLAST_RETURN_IF_ERROR(ValidatePlan(next.body, job.layout, job.limits));
  BALLAST_RETURN_IF_ERROR(ValidateTransition(base, next.body, job.layout, job.limits));
  if (Diff(base, next.body, job.layout).empty() && next.body.speeds == base.speeds) {
    return absl::InvalidArgumentError(
        next.wanted_homes.empty() ? "the plan changes nothing"
                                  : "homes: no block can move, the capacity of the ranks is in the way");
  }
  auto rejected = job.rejected.find(ContentDigest(next.body));
  if (rejected != job.rejected.end()) {
    return absl::FailedPreconditionError(
        absl::StrCat("the same content was refused in this generation: ", rejected->second));
  }
  Predict(job, next);
  if (wanted.explanation) next.explanation = *std::move(wanted.explanation);
  return next;
}

// The reply of push and rollback: proposes, or tells what would be.
void Finish(Env& env, JobEntry& job, ReplyToken token, absl::StatusOr<NewPlan> next, bool dry_run) {
  Reply reply{
      .token = token, .status = next.status(), .job = job.name(), .plan = {}, .text = {}, .term = env.term};
  if (next.ok()) {
    const PlanDiff diff = Diff(job.active().plan->body, next->body, job.layout);
    reply.text = diff.Summary();
    if (!next->wanted_homes.empty())
      absl::StrAppend(&reply.text, "; further home moves follow in later plans");
    if (dry_run) {
      auto plan = std::make_shared<Plan>();
      plan->stamp = PlanStamp{job.name(), job.record.generation, PlanVersion(), job.record.active,
                              next->not_before_step};
      plan->body = std::move(next->body);
      reply.plan.plan = std::move(plan);
      reply.plan.origin = next->origin;
      reply.plan.slot_writes = static_cast<int64_t>(diff.slot_writes.size());
      reply.plan.home_moves = static_cast<int64_t>(diff.home_moves.size());
      for (int64_t bytes : diff.home_bytes_in) reply.plan.home_bytes += bytes;
      reply.plan.imbalance_before = next->imbalance_before;
      reply.plan.imbalance_after = next->imbalance_after;
      reply.plan.imbalance_bound = next->imbalance_bound;
      reply.plan.slot_bytes = SlotBytes(job, reply.plan.slot_writes);
    } else {
      const PlanVersion version = Propose(env, job, *std::move(next));
      reply.plan = job.plans.at(version);
    }
  }
  env.actions.push_back(std::move(reply));
}

absl::StatusOr<NewPlan> PreparePush(const Env& env, const JobEntry& job, const PushPlan& push) {
  BALLAST_RETURN_IF_ERROR(MayPropose(job, env.options));
  if (push.base_version != job.record.active) {
    return absl::FailedPreconditionError(absl::StrCat("base_version: found ", push.base_version.value(),
                                                      ", the active plan is ", job.record.active.value()));
  }
  BALLAST_ASSIGN_OR_RETURN(PlanBody body, push.edit(job.active().plan->body, job.config()));
  body.reason = push.reason.empty() ? absl::StrCat("pushed by ", push.who) : push.reason;
  return Prepare(env, job, Wanted{std::move(body), push.not_before_step, PlanOrigin::kPushed, {}});
}

absl::StatusOr<NewPlan> PrepareRollback(const Env& env, const JobEntry& job, const RollbackPlan& rollback) {
  BALLAST_RETURN_IF_ERROR(MayPropose(job, env.options));
  const PlanVersion to = rollback.to.value() > 0 ? rollback.to : job.active().plan->stamp.base_version;
  auto it = job.plans.find(to);
  if (it == job.plans.end()) {
    return rollback.to.value() > 0
               ? absl::NotFoundError(absl::StrCat("job ", job.name().value(), " has no plan ", to.value()))
               : absl::FailedPreconditionError("the first plan is active; there is none to go back to");
  }
  if (it->second.state != PlanState::kActive || it->second.plan->stamp.generation != job.record.generation) {
    return absl::FailedPreconditionError(
        absl::StrCat("plan ", to.value(), " is ", ToString(it->second.state),
                     "; a plan can be taken up again that was ACTIVE in this generation"));
  }
  PlanBody body = KeepSlotIndices(job.active().plan->body, it->second.plan->body);
  body.speeds = job.active().plan->body.speeds;
  body.reason = absl::StrCat("rollback to plan ", to.value(), " by ", rollback.who);
  return Prepare(env, job, Wanted{std::move(body), Step(), PlanOrigin::kRollback, {}});
}

// A later plan of this generation may have left the expert where it was: then its index counts, not that of
// `target`.
void KeepIndicesOfRank(const LayerPlan& base, LayerPlan& layer, size_t rank) {
  const std::vector<Slot>& old_slots = base.slots[rank];
  const std::vector<Slot> target = layer.slots[rank];
  const bool fractions = layer.split.kind == SplitKind::kFractions;
  const std::vector<uint32_t> shares =
      fractions ? layer.split.fractions[rank] : std::vector<uint32_t>(target.size());
  std::vector<Slot> slots(target.size());
  std::vector<uint32_t> slot_shares(target.size());
  const auto put = [&](size_t to, size_t from) {
    slots[to] = target[from];
    slot_shares[to] = shares[from];
  };
  std::vector<size_t> moved;
  for (size_t from = 0; from < target.size(); ++from) {
    if (!target[from].has_value()) continue;
    auto old = std::find(old_slots.begin(), old_slots.end(), target[from]);
    if (old == old_slots.end()) {
      moved.push_back(from);
    } else {
      put(static_cast<size_t>(old - old_slots.begin()), from);
    }
  }
  size_t to = 0;
  for (size_t from : moved) {
    while (slots[to].has_value()) ++to;
    put(to, from);
  }
  layer.slots[rank] = std::move(slots);
  if (fractions) layer.split.fractions[rank] = std::move(slot_shares);
}

// Proposes what a look of the planner found, or remembers why it found nothing.
void TakeUp(Env& env, JobEntry& job, absl::StatusOr<PlanDecision> decision) {
  std::string why = decision.ok() ? decision->why : std::string(decision.status().message());
  if (decision.ok() && decision->body.has_value()) {
    if (!decision->homes) ChooseSchedules(job, *decision->body);
    absl::StatusOr<NewPlan> next = Prepare(
        env, job, Wanted{*std::move(decision->body), Step(), PlanOrigin::kPlanner, decision->explanation});
    if (next.ok()) {
      Propose(env, job, *std::move(next));
      job.why_not.clear();
      job.last_look_without_plan.reset();
      return;
    }
    why = absl::StrCat(why, "; not proposed: ", next.status().message());
  }
  if (decision.ok()) {
    job.last_look_without_plan = std::move(decision->explanation);
    job.last_look_without_plan->accepted = false;
    job.last_look_without_plan->verdict = why;
  }
  if (why == job.why_not) return;
  job.why_not = why;
  env.Log(
      absl::StrCat("job ", job.name().value(), ": step ", job.record.step.value(), ": no new plan: ", why));
}

}  // namespace

PlanBody KeepSlotIndices(const PlanBody& base, PlanBody target) {
  for (size_t layer = 0; layer < target.layers.size(); ++layer) {
    for (size_t rank = 0; rank < target.layers[layer].slots.size(); ++rank) {
      KeepIndicesOfRank(base.layers[layer], target.layers[layer], rank);
    }
  }
  return target;
}

void OnPush(Env& env, JobEntry& job, const PushPlan& push) {
  Finish(env, job, push.reply, PreparePush(env, job, push), push.dry_run);
}

void OnRollback(Env& env, JobEntry& job, const RollbackPlan& rollback) {
  Finish(env, job, rollback.reply, PrepareRollback(env, job, rollback), /*dry_run=*/false);
}

void GiveUpLook(Env& env, JobEntry& job) {
  if (!job.planning.has_value()) return;
  env.actions.push_back(GiveUpPlan{*job.planning});
  job.planning.reset();
}

void TellSlow(Env& env, JobEntry& job, const std::vector<SlowEvent>& events) {
  for (const SlowEvent& event : events) {
    env.Tell(
        job, event.slow ? JobEvent::Kind::kAlarm : JobEvent::Kind::kMember,
        absl::StrCat("step ", event.step.value(), ": ", TextOf(event, job.generation.members, job.topology)),
        job.record.step);
  }
  if (events.empty()) return;
  // A look that is being made knows nothing of it: the next one is made after the next step.
  GiveUpLook(env, job);
  job.last_look = Step();
}

void TellModel(Env& env, JobEntry& job) {
  env.Tell(job, JobEvent::Kind::kAlarm,
           absl::StrCat("step ", job.record.step.value(),
                        ": steps do not take what was predicted; experts move for slow ranks alone until the "
                        "times are learned anew"),
           job.record.step);
}

std::vector<bool> FreshLinks(const JobEntry& job, const LinkReport& report) {
  const auto nodes = static_cast<size_t>(job.topology.nodes());
  std::vector<bool> fresh(nodes * nodes, false);
  for (const LinkProbe& link : report.links) {
    if (link.failure.empty())
      fresh[job.topology.node(link.from).index() * nodes + job.topology.node(link.to).index()] = true;
  }
  return fresh;
}

void MaybePlan(Env& env, JobEntry& job) {
  const int64_t every = std::max<int64_t>(1, job.config().planner.plan_every_steps);
  if (!MayPropose(job, env.options).ok() || job.in_flight.has_value() || job.planning.has_value()) return;
  if (job.record.step.value() - job.last_look.value() < every || env.now.time < job.planner_rests_until)
    return;
  if (job.config().training.steps - job.record.step.value() < kStepsToSwitch) return;
  const PlanRecord& active = job.active();
  const bool first = active.plan->stamp.version == job.generation.plan;
  PlanInput input{.layout = job.layout,
                  .limits = job.limits,
                  .topology = job.topology,
                  .config = job.config().planner,
                  .history = job.telemetry.history(),
                  .current = active.plan->body,
                  .speeds = job.calibration.speeds(),
                  .now = job.record.step,
                  .active_since = first ? Step() : active.switch_step,
                  .optional_moves = job.calibration.guard().trusted(),
                  .tokens = &job.telemetry.tokens()};
  // Held down: looked at again after the next step, not a whole period later.
  if (!MayPlan(input).accepted) return;
  FillPrices(job, input);
  const absl::StatusOr<PlannerPtr> planner = Planners().Find(input.config.strategy);
  const StrategyTraits traits = planner.ok() ? (*planner)->traits() : StrategyTraits();
  const double seconds = static_cast<double>(job.config().planner.budget_ms) / 1000;
  const auto searches = static_cast<size_t>(Searches(input));
  input.evaluations_max = job.pace.EvaluationsIn(
      seconds, searches,
      traits.slow_when_large
          ? PlanPace::FirstGuess(seconds, searches, int64_t{input.history.experts()} * input.limits.ranks)
          : kPlacementsMax);
  job.last_look = job.record.step;
  // Without what it waits for, a look says so and is soon over.
  const bool slow =
      (traits.slow || (traits.slow_when_large && IsLargeLook(input))) && (*planner)->WaitsFor(input).empty();
  if (slow || env.options.plan_aside) {
    job.planning = LookId{env.StampOf(job), job.record.active, job.record.step};
    env.actions.push_back(MakePlan{std::make_shared<const PlanTask>(*job.planning, input)});
    return;
  }
  absl::StatusOr<PlanDecision> decision = Decide(Planners(), input);
  if (decision.ok()) env.look = PlannerLook{job.name(), decision->explanation.evaluations};
  TakeUp(env, job, std::move(decision));
}

void OnPlanMade(Env& env, JobEntry& job, PlanMade& made) {
  if (job.planning != made.look) return;
  if (made.decision.ok()) job.pace.Observe(made.decision->explanation.evaluations, made.seconds);
  job.planning.reset();
  const bool same = made.look.stamp == env.StampOf(job) && made.look.base == job.record.active;
  const bool late = job.config().training.steps - job.record.step.value() < kStepsToSwitch;
  if (!same || late || !MayPropose(job, env.options).ok() || job.in_flight.has_value() ||
      env.now.time < job.planner_rests_until) {
    env.Log(absl::StrCat("job ", job.name().value(), ": what was planned at step ", made.look.step.value(),
                         " on plan ", made.look.base.value(), " comes too late and is dropped"));
    return;
  }
  TakeUp(env, job, std::move(made.decision));
}

void ContinueHomeMoves(Env& env, JobEntry& job) {
  if (job.record.wanted_homes.empty() || job.in_flight.has_value() || !MayPropose(job, env.options).ok())
    return;
  PlanBody body = job.active().plan->body;
  body.homes = std::exchange(job.record.wanted_homes, {});
  body.reason = absl::StrCat("home moves begun by plan ", job.record.active.value(), " go on");
  absl::StatusOr<NewPlan> next =
      Prepare(env, job, Wanted{std::move(body), Step(), PlanOrigin::kHomeMoves, {}});
  if (next.ok()) {
    Propose(env, job, *std::move(next));
    return;
  }
  env.Store({job.record});
  env.Tell(job, JobEvent::Kind::kPlan, absl::StrCat("home moves end here: ", next.status().message()),
           job.record.step);
}

}  // namespace ballast
