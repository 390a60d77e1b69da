// RouteChecker: I5, routed = sent = received, per step and layer, over all ranks.
//
// Each rank makes its route with the code of the MoE layer, from its own plan of the step and from counts
// drawn from (seed, step, layer, rank), which every rank knows as after the gather of the counts. It asks for
// its own rows and columns alone, as "direct" does, so that what two ranks say of each other is two answers.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "plan/job_config.h"
#include "plan/plan.h"
#include "plan/topology.h"
#include "sim/collective.h"
#include "worker/schedule/route.h"

namespace ballast::sim {

struct RouteFigures {
  int64_t layers = 0;       // exchanges whose routes all ranks have made
  int64_t assignments = 0;  // of those, computed
  int64_t travelled = 0;    // of those, by another rank than their source
  void Add(const RouteFigures& other) {
    layers += other.layers;
    assignments += other.assignments;
    travelled += other.travelled;
  }
};

class RouteChecker {
 public:
  // `job` says how many experts there are, and how many assignments a rank has in a step.
  RouteChecker(uint64_t seed, const JobConfig& job);

  // Rank `rank` of `run` begins `step`: it routes by `routed`, and its slots hold what `filled` says. Throws
  // Violation of I5 when
  //   it does not send each of its assignments once, or receives other than it is to compute;
  //   it is to compute an expert that its slot does not hold;
  //   another rank expects other rows from it, or sends other ones, than it says, or splits differently;
  //   the ranks together, once all have begun the step, do not compute every assignment once.
  void OnRoute(const RunKey& run, Rank rank, Step step, const PlanBody& routed, const PlanBody& filled,
               const Topology& topology);

  const RouteFigures& figures() const { return figures_; }

 private:
  // [rank] what it made; no ranks = not yet.
  using Routes = std::vector<Route>;

  CountMatrix Draw(Step step, size_t layer, int ranks) const;
  void CheckAll(Step step, const CountMatrix& counts, const Routes& routes);

  const uint64_t seed_;
  const int experts_;
  const int64_t assignments_;
  // [layer], of steps that not all ranks have begun.
  std::map<RunKey, std::map<Step, std::vector<Routes>>> open_;
  SplitWorkspace split_work_;
  RouteFigures figures_;
};

}  // namespace ballast::sim
