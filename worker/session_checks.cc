// What is checked before an assignment or a plan is believed: both are hostile input.
#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "worker/session.h"

namespace ballast {

absl::StatusOr<std::vector<Rank>> Session::CheckAssign(const Assign& assign, ParameterLayout& layout) const {
  if (assign.job == nullptr || assign.plan == nullptr)
    return absl::InvalidArgumentError("no job or no plan in Assign");
  const PlanStamp& stamp = assign.plan->stamp;
  if (assign.job->name != assign.stamp.job || stamp.job != assign.stamp.job ||
      stamp.generation != assign.stamp.generation || stamp.version.value() < 1) {
    return absl::InvalidArgumentError("job, plan and stamp of Assign do not belong together");
  }
  if (assign.start_step.value() < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("start_step: found ", assign.start_step.value(), ", allowed 1.."));
  }
  if (assign.checkpoint.has_value() && assign.checkpoint->step != assign.start_step.Plus(-1) &&
      !Planted(options_.bugs, PlantedBug::kResumedEarlier)) {
    return absl::InvalidArgumentError(absl::StrCat("checkpoint.step: found ", assign.checkpoint->step.value(),
                                                   ", allowed ", assign.start_step.value() - 1,
                                                   " (the step before start_step)"));
  }
  if (assign.retained.value() > 0) {
    const auto left = left_.find(assign.stamp.job);
    if (assign.checkpoint.has_value() || left == left_.end() ||
        left->second.frozen.stamp.generation != assign.retained) {
      return absl::FailedPreconditionError(absl::StrCat("retained: found generation ",
                                                        assign.retained.value(),
                                                        ", which is not the one that this worker left last"));
    }
  }
  const int ranks = options_.identity.ranks;
  std::vector<std::optional<Rank>> by_device(ranks > 0 ? ranks : 0);
  for (size_t i = 0; i < assign.members.size(); ++i) {
    const Member& member = assign.members[i];
    if (member.rank != Rank(static_cast<int>(i))) {
      return absl::InvalidArgumentError(absl::StrCat("members[", i, "].rank: found ", member.rank.value()));
    }
    if (member.worker != options_.identity.worker) continue;
    if (member.local_rank < 0 || member.local_rank >= ranks || by_device[member.local_rank].has_value()) {
      return absl::InvalidArgumentError(absl::StrCat("members[", i, "].local_rank: found ", member.local_rank,
                                                     ", allowed each of 0..", ranks - 1, " once"));
    }
    by_device[member.local_rank] = member.rank;
  }
  std::vector<Rank> local_ranks;
  for (const std::optional<Rank>& rank : by_device) {
    if (!rank.has_value()) break;
    local_ranks.push_back(*rank);
  }
  const auto mine =
      std::count_if(by_device.begin(), by_device.end(), [](const auto& rank) { return rank.has_value(); });
  if (local_ranks.empty() || mine != static_cast<int64_t>(local_ranks.size())) {
    return absl::InvalidArgumentError("the ranks of this worker do not take its devices from the first on");
  }
  BALLAST_ASSIGN_OR_RETURN(layout,
                           ParameterLayout::Make(assign.job->model, assign.job->placement.block_elements));
  const PlanLimits limits = LimitsFor(*assign.job, layout, static_cast<int>(assign.members.size()));
  BALLAST_RETURN_IF_ERROR(ValidatePlan(assign.plan->body, layout, limits));
  if (options_.memory_check) {
    BALLAST_RETURN_IF_ERROR(options_.memory_check(*assign.job, layout, {&assign.plan->body}, local_ranks));
  }
  return local_ranks;
}

absl::Status Session::MayStage(const Plan& plan, PlanDigest digest, bool& lasting) const {
  lasting = false;
  if (!running_) return absl::FailedPreconditionError("the ranks of this worker do not run");
  const PlanStamp& stamp = plan.stamp;
  if (stamp.job != run_.job || stamp.generation != run_.generation) {
    return absl::InvalidArgumentError("the plan is of another job or generation than its message");
  }
  const bool overlap = Planted(options_.bugs, PlantedBug::kStageWhilePending);
  if (staged_ != nullptr && !(overlap && staged_->stamp.version != stamp.version)) {
    if (staged_->stamp.version != stamp.version) {
      return absl::FailedPreconditionError(
          absl::StrCat("plan ", staged_->stamp.version.value(), " is promised and not resolved yet"));
    }
    if (staged_digest_ != digest && !Planted(options_.bugs, PlantedBug::kDigestUnchecked)) {
      return absl::FailedPreconditionError(
          absl::StrCat("plan ", stamp.version.value(), " is promised with another content"));
    }
    return absl::OkStatus();  // the promise stands: it was checked when it was given
  }
  if (Pending() && !overlap) {
    return absl::FailedPreconditionError(
        absl::StrCat("plan ", pending_->stamp.version.value(), " is pending"));
  }
  if (stamp.base_version != active_->stamp.version && !overlap) {
    return absl::FailedPreconditionError(absl::StrCat("base_version: found ", stamp.base_version.value(),
                                                      ", the active plan is ",
                                                      active_->stamp.version.value()));
  }
  lasting = true;
  BALLAST_RETURN_IF_ERROR(ValidatePlan(plan.body, layout_, limits_));
  BALLAST_RETURN_IF_ERROR(ValidateTransition(active_->body, plan.body, layout_, limits_));
  lasting = false;
  if (!options_.memory_check) return absl::OkStatus();
  absl::Status fits = options_.memory_check(*job_, layout_, PlansUntil(plan.body), local_ranks_);
  lasting = absl::IsInvalidArgument(fits);
  return fits;
}

std::vector<const PlanBody*> Session::PlansUntil(const PlanBody& next) const {
  // A state that has moved away is kept until the step after the switch is done.
  const bool kept = std::any_of(ranks_.begin(), ranks_.end(), [](const auto& entry) {
    return entry.second.step <= entry.second.switch_step;
  });
  std::vector<const PlanBody*> plans;
  if (kept && before_ != nullptr) plans.push_back(&before_->body);
  plans.push_back(&active_->body);
  plans.push_back(&next);
  return plans;
}

}  // namespace ballast
