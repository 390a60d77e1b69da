#include "coordinator/roll_forward.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace ballast {
namespace {

absl::Status No(const std::string& why) { return absl::FailedPreconditionError(why); }

// What the member says of its rank; null when it does not.
const Frozen::RankProgress* ProgressOf(const Member& member, const std::map<WorkerId, Frozen>& frozen) {
  const auto answer = frozen.find(member.worker);
  if (answer == frozen.end() || answer->second.incarnation != member.incarnation) return nullptr;
  const Frozen::RankProgress* found = nullptr;
  for (const Frozen::RankProgress& progress : answer->second.ranks) {
    if (progress.rank != member.rank) continue;
    if (found != nullptr) return nullptr;
    found = &progress;
  }
  return found;
}

}  // namespace

absl::StatusOr<RollForward> DecideRollForward(const GenerationRecord& generation,
                                              const std::map<WorkerId, Frozen>& frozen, Step checkpoint,
                                              const PlantedBugs& bugs) {
  Step highest, lowest;
  PlanVersion plan;
  for (const Member& member : generation.members) {
    const Frozen::RankProgress* progress = ProgressOf(member, frozen);
    if (progress == nullptr || !progress->holds) {
      return No(absl::StrCat("nobody holds the state of rank ", member.rank.value(), " of worker ",
                             member.worker.value()));
    }
    if (member.rank == Rank(0) || progress->step < lowest) lowest = progress->step;
    if (member.rank != Rank(0) && progress->step < highest) continue;
    if (member.rank != Rank(0) && progress->step == highest && progress->plan != plan) {
      return No(absl::StrCat("step ", highest.value(), " ran under plans ", plan.value(), " and ",
                             progress->plan.value(), ", as the ranks say"));
    }
    highest = progress->step;
    plan = progress->plan;
  }
  // Rows of a step leave behind the update of the one before.
  if (generation.members.empty() || highest > lowest.Next() || highest.Next() < generation.start_step) {
    return No(
        absl::StrCat("the ranks say that they are behind steps ", lowest.value(), " to ", highest.value()));
  }
  if (highest.Next() == generation.start_step && generation.retained.value() == 0)
    return No("it has completed no step");
  if (highest <= checkpoint)
    return No(absl::StrCat("the checkpoint after step ", checkpoint.value(), " is as new"));
  if (Planted(bugs, PlantedBug::kRolledToLowest)) highest = lowest;
  return RollForward{highest, plan};
}

}  // namespace ballast
