#include "coordinator/planner/register.h"

#include "coordinator/planner/layerwise.h"

namespace ballast {

const Registry<PlannerPtr>& Planners() {
  static const Registry<PlannerPtr> planners = [] {
    Registry<PlannerPtr> list("planner strategy");
    list.Add("contiguous", "experts in contiguous runs as every job starts; never moves anything",
             MakeContiguousPlanner());
    list.Add("greedy",
             "replicates the hottest experts and packs the longest first; experts keep their rank on a tie",
             MakeGreedyPlanner());
    // One layer at a time, by the strategies that replay knows too.
    const Registry<LayerStrategyPtr>& layerwise = LayerStrategies();
    for (const std::string& name : layerwise.Names()) {
      if (!list.Has(name))
        list.Add(name, layerwise.Description(name), MakeLayerwisePlanner(*layerwise.Find(name)));
    }
    return list;
  }();
  return planners;
}

}  // namespace ballast
