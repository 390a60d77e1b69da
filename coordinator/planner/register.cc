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
    // One layer at a time, by the strategies that replay knows too. Those that need a co-activation sample have
    // none here.
    const Registry<LayerStrategyPtr>& layerwise = LayerStrategies();
    for (const char* name : {"smartmoe", "lpt_swap", "eplb", "eplb_hierarchical", "fastermoe_shadow", "splitpack",
                             "hier_splitpack", "flow_repair", "auto"}) {
      list.Add(name, layerwise.Description(name), MakeLayerwisePlanner(*layerwise.Find(name)));
    }
    return list;
  }();
  return planners;
}

}  // namespace ballast
