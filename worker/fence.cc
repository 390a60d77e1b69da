#include "worker/fence.h"

#include <algorithm>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "base/check.h"

namespace ballast {
namespace {

// From the table of step s a plan is active at s + 2: the refresh at the end of s + 1 already fills the slots
// of s + 2, and the host enqueues it without waiting for the table of the step it is in.
constexpr int64_t kSwitchAfterSteps = 2;
// Steps before the last applied one whose plan can still be asked for.
constexpr int64_t kHistorySteps = 2;

absl::Status CheckTable(Step step, std::span<const StepHeader> table, int ranks, Generation generation) {
  if (static_cast<int>(table.size()) != ranks) {
    return absl::FailedPreconditionError(absl::StrCat("table of step ", step.value(), ": ", table.size(),
                                                      " rows, needs one for each of ", ranks, " ranks"));
  }
  for (size_t rank = 0; rank < table.size(); ++rank) {
    const StepHeader& row = table[rank];
    if (row.generation != generation || row.step != step) {
      return absl::FailedPreconditionError(absl::StrCat(
          "table of step ", step.value(), " of generation ", generation.value(), ": the row of rank ", rank,
          " is of step ", row.step.value(), " of generation ", row.generation.value()));
    }
  }
  return absl::OkStatus();
}

// Why the optimizer must not apply this step; empty = it may.
std::string UpdateFailure(Step step, std::span<const StepHeader> table) {
  // The one that a step meets first caused the others: what is not finite in one rank's layer soon is so in
  // all ranks' later ones, and then in the gradients.
  const auto order = [](const StepFailure& failure) {
    return std::tuple(failure.cause >= FailureCause::kGradient, failure.part, failure.layer, failure.cause);
  };
  size_t first = table.size();
  for (size_t rank = 0; rank < table.size(); ++rank) {
    if (table[rank].ok()) continue;
    if (first == table.size() || order(table[rank].failure) < order(table[first].failure)) first = rank;
  }
  if (first < table.size()) {
    const std::string place = PlaceOf(table[first].failure);
    return absl::StrCat("step ", step.value(), ": ", place, place.empty() ? "" : ", ", "rank ", first, ": ",
                        ReasonOf(table[first].failure));
  }
  for (size_t rank = 1; rank < table.size(); ++rank) {
    if (table[rank].split_hash == table[0].split_hash) continue;
    return absl::StrCat("step ", step.value(), ": ranks 0 and ", rank, " split the tokens differently");
  }
  return "";
}

// Two ranks that promised different contents under one version would wait for each other for ever, without a
// word.
std::string DigestAlarm(Step step, std::span<const StepHeader> table) {
  for (size_t a = 0; a < table.size(); ++a) {
    if (table[a].staged.value() == 0) continue;
    for (size_t b = a + 1; b < table.size(); ++b) {
      if (table[b].staged != table[a].staged || table[b].staged_digest == table[a].staged_digest) continue;
      return absl::StrCat("step ", step.value(), ": ranks ", a, " and ", b, " have staged plan ",
                          table[a].staged.value(), " with different digests");
    }
  }
  return "";
}

}  // namespace

Fence::Fence(Rank self, int ranks, PlanPtr active, Step start_step, PlantedBugs bugs)
    : self_(self),
      ranks_(ranks),
      start_step_(start_step),
      bugs_(bugs),
      runs_{Run{start_step, std::move(active)}},
      last_step_(start_step.Plus(-1)) {
  BALLAST_CHECK(ranks_ > 0 && runs_[0].plan != nullptr && start_step.value() >= 1);
}

absl::StatusOr<FenceDecision> Fence::Apply(Step step, std::span<const StepHeader> table,
                                           const HeldPlan& held) {
  if (step != last_step_.Next()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "table of step ", step.value(), ": the next one is that of step ", last_step_.Next().value()));
  }
  absl::Status valid = CheckTable(step, table, ranks_, runs_.back().plan->stamp.generation);
  if (!valid.ok()) return valid;

  FenceDecision decision;
  decision.failure = UpdateFailure(step, table);
  decision.update = decision.failure.empty();
  decision.alarm = DigestAlarm(step, table);
  decision.decided = Decide(step, table, held);
  if (decision.decided.has_value()) decision.switch_step = runs_.back().from;
  for (const StepHeader& row : table) {
    if (row.request <= request_done_) continue;
    request_done_ = row.request;
    decision.request = row.request;
    decision.request_kind = row.request_kind;
    decision.request_step = step.Plus(kSwitchAfterSteps);
  }
  last_step_ = step;
  while (runs_.size() > 1 && runs_[1].from <= last_step_.Plus(-kHistorySteps)) runs_.erase(runs_.begin());
  return decision;
}

// Looks at the table, at the plans decided by earlier tables, and at the immutable content of the candidate:
// at nothing that could differ between ranks.
std::optional<PlanVersion> Fence::Decide(Step step, std::span<const StepHeader> table, const HeldPlan& held) {
  PlanVersion candidate;
  for (const StepHeader& row : table) candidate = std::max(candidate, row.committed);
  if (candidate <= runs_.back().plan->stamp.version) return std::nullopt;
  if (Planted(bugs_, PlantedBug::kOwnCellsConsulted) && table[self_.index()].committed != candidate)
    return std::nullopt;

  const size_t overlooked =
      Planted(bugs_, PlantedBug::kFenceIgnoresOneRank) ? (self_.index() + 1) % table.size() : table.size();
  const PlanDigest digest = table[overlooked == 0 ? table.size() - 1 : 0].staged_digest;
  for (size_t rank = 0; rank < table.size(); ++rank) {
    if (rank == overlooked) continue;
    if (table[rank].staged != candidate) return std::nullopt;
    if (table[rank].staged_digest != digest && !Planted(bugs_, PlantedBug::kDigestUnchecked))
      return std::nullopt;
  }

  PlanPtr plan = held(candidate, digest);
  BALLAST_CHECK(plan != nullptr) << "plan " << candidate << " is staged by every rank in the table of step "
                                 << step << ", but rank " << self_ << " does not hold it";
  const Step switch_step = step.Plus(kSwitchAfterSteps);
  if (switch_step < plan->stamp.not_before_step) return std::nullopt;
  runs_.push_back(Run{switch_step, std::move(plan)});
  return candidate;
}

const PlanPtr& Fence::PlanFor(Step step) const {
  BALLAST_CHECK(step >= start_step_ && step >= last_step_.Plus(-kHistorySteps) &&
                step <= last_step_.Plus(kSwitchAfterSteps))
      << "plan of step " << step << " asked after table " << last_step_;
  size_t run = runs_.size();
  while (run > 0 && runs_[run - 1].from > step) --run;
  BALLAST_CHECK(run > 0);
  return runs_[run - 1].plan;
}

}  // namespace ballast
