#include "sim/simulation.h"

#include <array>
#include <exception>
#include <utility>

#include "sim/cluster.h"

namespace ballast::sim {
namespace {

constexpr std::array<std::pair<PlantedBug, const char*>, 22> kPlants = {{
    {PlantedBug::kFenceIgnoresOneRank, "fence-ignores-one-rank"},
    {PlantedBug::kCommitBeforeStore, "commit-before-store"},
    {PlantedBug::kTermUnchecked, "term-unchecked"},
    {PlantedBug::kDigestUnchecked, "digest-unchecked"},
    {PlantedBug::kAbortedStagedAgain, "aborted-staged-again"},
    {PlantedBug::kStagedDroppedOnNewTerm, "staged-dropped-on-new-term"},
    {PlantedBug::kStageWhilePending, "stage-while-pending"},
    {PlantedBug::kOwnCellsConsulted, "own-cells-consulted"},
    {PlantedBug::kNotBeforeInCommit, "not-before-in-commit"},
    {PlantedBug::kWithdrawBeforeAborted, "withdraw-before-aborted"},
    {PlantedBug::kPlanKeptAtAssign, "plan-kept-at-assign"},
    {PlantedBug::kStepFromStore, "step-from-store"},
    {PlantedBug::kVersionReused, "version-reused"},
    {PlantedBug::kUnpublishedLoaded, "unpublished-loaded"},
    {PlantedBug::kResumedEarlier, "resumed-earlier"},
    {PlantedBug::kRolledToLowest, "rolled-to-lowest"},
    {PlantedBug::kOwnUpdateSkipped, "own-update-skipped"},
    {PlantedBug::kRouteOfStepBefore, "route-of-step-before"},
    {PlantedBug::kOlderStoreLeads, "older-store-leads"},
    {PlantedBug::kAssignBeforeStore, "assign-before-store"},
    {PlantedBug::kDetachedIsLost, "detached-is-lost"},
    {PlantedBug::kFrozenByAnyone, "frozen-by-anyone"},
}};

}  // namespace

SimulationResult Simulate(const SimulationOptions& options) {
  World world(options.seed, options.bug, options.transcript);
  Cluster cluster(world);
  SimulationResult result;
  try {
    cluster.Run();
  } catch (const Violation& violation) {
    result.checker = violation.checker;
    result.what = violation.what();
  } catch (const std::exception& error) {
    result.checker = "exception";
    result.what = error.what();
  }
  if (result.failed()) {
    world.Say("sim", [&] { return absl::StrCat("VIOLATION of ", result.checker, ": ", result.what); });
  }
  if (const JobRecord* job = world.store.Job(world.job->name)) result.generations = job->generation.value();
  result.rolled_forward = world.checkers.rolled_forward();
  result.own_updates = world.checkers.own_updates();
  result.routes = world.routes.figures();
  result.pauses = world.pauses.Figures(world.store);
  result.steps = result.pauses.steps;
  for (const auto& [key, record] : world.store.plans()) {
    result.plans_active += record.state == PlanState::kActive && record.origin != PlanOrigin::kFirst &&
                           record.origin != PlanOrigin::kRecovery;
  }
  result.transcript = world.transcript.lines();
  return result;
}

std::vector<std::string> PlantNames() {
  std::vector<std::string> names;
  for (const auto& [bug, name] : kPlants) names.push_back(name);
  return names;
}

std::optional<PlantedBug> PlantByName(const std::string& name) {
  for (const auto& [bug, known] : kPlants) {
    if (name == known) return bug;
  }
  return std::nullopt;
}

std::string NameOf(PlantedBug bug) {
  for (const auto& [known, name] : kPlants) {
    if (bug == known) return name;
  }
  return "unknown";
}

}  // namespace ballast::sim
