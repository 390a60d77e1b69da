#include "coordinator/planner/layer/layer_strategy.h"

namespace ballast {

const Registry<LayerStrategyPtr>& LayerStrategies() {
  static const Registry<LayerStrategyPtr> strategies = [] {
    Registry<LayerStrategyPtr> list("layer strategy");
    list.Add("contiguous", "experts in contiguous runs as every job starts; never moves anything",
             MakeContiguousStrategy());
    list.Add("smartmoe",
             "longest first, ties keep their rank, adopted when the largest load falls; no copies",
             MakeSmartMoeStrategy());
    list.Add("lpt_swap", "longest first, then exchanges from the busiest rank; no copies",
             MakeLptSwapStrategy());
    list.Add("eplb", "copies by load, packed in equal numbers, tokens split evenly over copies",
             MakeEplbStrategy(false));
    list.Add("eplb_hierarchical", "eplb with the copies of an expert inside one node",
             MakeEplbStrategy(true));
    list.Add("splitpack", "copies and places in one pass for the exact split; meets the bound, many writes",
             MakeSplitPackStrategy());
    list.Add("hier_splitpack", "splitpack inside nodes after dealing experts to nodes",
             MakeHierSplitPackStrategy());
    list.Add("flow_repair", "splitpack at first, then a few slot writes when the forecast no longer fits",
             MakeFlowRepairStrategy());
    list.Add("fastermoe_shadow", "the hottest experts also on every other rank with room, as many as pay",
             MakeFasterMoeShadowStrategy());
    list.Add("coactivation", "experts chosen together on one node, by pairwise exchange; needs a sample",
             MakeCoactivationStrategy());
    list.Add("kmeans", "experts clustered by co-activation into nodes, loads repaired; needs a sample",
             MakeKmeansStrategy());
    list.Add("genetic", "a seeded genetic search over nodes of experts; needs a sample; slow",
             MakeGeneticStrategy());
    list.Add("auto", "the candidate of least predicted cost (balance, sync, writes), adopted when it pays",
             MakeAutoStrategy());
    return list;
  }();
  return strategies;
}

}  // namespace ballast
