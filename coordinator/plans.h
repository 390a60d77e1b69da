// Plans: where contents come from (an operator's push, a rollback, the planner, the rest of a home move) and
// what is checked before one is proposed. All take the same way from there: rollout.h.
#pragma once

#include "absl/status/statusor.h"
#include "coordinator/env.h"
#include "coordinator/job_calibration.h"
#include "coordinator/rollout.h"

namespace ballast {

// Replies in every case. Nothing changes on an error.
void OnPush(Env& env, JobEntry& job, const PushPlan& push);
void OnRollback(Env& env, JobEntry& job, const RollbackPlan& rollback);

// A look that is made aside is of no use any more.
void GiveUpLook(Env& env, JobEntry& job);
// Tells who was found slow or healthy; the planner looks at it after the next step, also where
// a look is being made that does not know of it.
void TellSlow(Env& env, JobEntry& job, const std::vector<SlowEvent>& events);
// The model of step times was wrong and is learned anew.
void TellModel(Env& env, JobEntry& job);
// [from node * nodes + to node] was measured by this report.
std::vector<bool> FreshLinks(const JobEntry& job, const LinkReport& report);

// After a step was reported: a look of the planner when it is time for one; of a strategy that takes long, or
// with CoreOptions::plan_aside, it is made aside.
void MaybePlan(Env& env, JobEntry& job);
// What came of it. Dropped when another plan is active by now, or the generation another.
void OnPlanMade(Env& env, JobEntry& job, PlanMade& made);
// After a plan became active: the next piece of a home move under way.
void ContinueHomeMoves(Env& env, JobEntry& job);

// `target` with the slots of every rank ordered so that an expert that stays on a rank under `base` keeps its
// index there.
PlanBody KeepSlotIndices(const PlanBody& base, PlanBody target);

}  // namespace ballast
