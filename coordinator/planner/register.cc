#include "coordinator/planner/register.h"

namespace ballast {

const Registry<PlannerPtr>& Planners() {
  static const Registry<PlannerPtr> planners = [] {
    Registry<PlannerPtr> list("planner strategy");
    list.Add("contiguous", "experts in contiguous runs as every job starts; never moves anything",
             MakeContiguousPlanner());
    list.Add("greedy",
             "replicates the hottest experts and packs the longest first; experts keep their rank on a tie",
             MakeGreedyPlanner());
    return list;
  }();
  return planners;
}

}  // namespace ballast
