#include "sim/simulation.h"

#include <array>
#include <exception>
#include <utility>

#include "sim/cluster.h"

namespace ballast::sim {
namespace {

constexpr std::array<std::pair<PlantedBug, const char*>, 23> kPlants = {{
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
    {PlantedBug::kResumeForgotten, "resume-forgotten"},
    {PlantedBug::kOlderStoreLeads, "older-store-leads"},
    {PlantedBug::kAssignBeforeStore, "assign-before-store"},
    {PlantedBug::kDetachedIsLost, "detached-is-lost"},
    {PlantedBug::kFrozenByAnyone, "frozen-by-anyone"},
}};

// Adds to `result`, whose checker is empty.
void RunOne(World& world, SimulationResult& result) {
  Cluster cluster(world);
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
  if (const JobRecord* job = world.store.Job(world.job->name)) {
    result.generations += job->generation.value();
    // Its numbers begin behind those of the job that it resumed.
    if (world.resume.has_value() && job->generation > world.resume->highest)
      result.generations -= world.resume->highest.value();
  }
  result.rolled_forward += world.checkers.rolled_forward();
  result.behind_last += world.checkers.behind_last();
  result.own_updates += world.checkers.own_updates();
  result.routes.Add(world.routes.figures());
  result.pauses.Add(world.pauses.Figures(world.store));
  result.steps = result.pauses.steps;
  for (const auto& [key, record] : world.store.plans()) {
    result.plans_active += record.state == PlanState::kActive && record.origin != PlanOrigin::kFirst &&
                           record.origin != PlanOrigin::kRecovery;
  }
  const std::vector<std::string>& lines = world.transcript.lines();
  result.transcript.insert(result.transcript.end(), lines.begin(), lines.end());
}

}  // namespace

SimulationResult Simulate(const SimulationOptions& options) {
  SimulationResult result;
  World first(ScenarioOf(options.seed), options.seed, options.bug, options.transcript);
  RunOne(first, result);
  if (result.failed() || !first.scenario.resume) return result;
  const std::optional<Disk::Folder> folder = first.disk.Newest();
  if (!folder.has_value()) return result;

  // The same disk, and nothing else of the first cluster.
  const uint64_t seed = HashSeed({options.seed, 7});
  World second(ResumedScenario(first.scenario, seed), seed, options.bug, options.transcript);
  second.disk = first.disk;
  second.resume = folder;
  const JobRecord* job = first.store.Job(first.job->name);
  const PlanRecord* plan = job != nullptr ? first.store.Plan(first.job->name, job->active) : nullptr;
  if (plan != nullptr) {
    second.resume_plan = std::shared_ptr<const PlanBody>(plan->plan, &plan->plan->body);
  }
  second.checkers.OnResume(folder->newest.step);
  const int64_t steps = result.steps;
  RunOne(second, result);
  result.resumed = result.steps > steps ? 1 : 0;
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
