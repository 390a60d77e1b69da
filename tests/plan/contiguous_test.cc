#include "plan/contiguous.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "plan/home_moves.h"
#include "plan/load.h"
#include "plan/topology.h"
#include "tests/plan/fixtures.h"

namespace ballast {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(Contiguous, HandCases) {
  JobConfig job = testing::SmallJob(2, 8, 3);
  const ParameterLayout layout = testing::LayoutOf(job);
  const auto plan = ContiguousPlan(job, layout, 3);  // runs of 2, 3 and 3
  ASSERT_TRUE(plan.ok()) << plan.status();
  ASSERT_EQ(plan->layers.size(), 2u);
  const auto& slots = plan->layers[1].slots;
  EXPECT_THAT(slots[0], ElementsAre(Slot(ExpertId(0)), Slot(ExpertId(1)), Slot()));
  EXPECT_THAT(slots[1], ElementsAre(Slot(ExpertId(2)), Slot(ExpertId(3)), Slot(ExpertId(4))));
  EXPECT_THAT(slots[2], ElementsAre(Slot(ExpertId(5)), Slot(ExpertId(6)), Slot(ExpertId(7))));
  EXPECT_THAT(plan->speeds, ElementsAre(65536, 65536, 65536));
}

TEST(Contiguous, EveryShapeIsAValidPlanWithEvenHomes) {
  for (int experts = 1; experts <= 9; ++experts) {
    for (int ranks = 1; ranks <= 11; ++ranks) {
      JobConfig job = testing::SmallJob(2, experts, (experts + ranks - 1) / ranks);
      job.schedule = {"two_level", 2, "bf16", "none"};
      const ParameterLayout layout = testing::LayoutOf(job);
      const auto plan = ContiguousPlan(job, layout, ranks);
      ASSERT_TRUE(plan.ok()) << plan.status();
      const PlanLimits limits = LimitsFor(job, layout, ranks);
      EXPECT_TRUE(ValidatePlan(*plan, layout, limits).ok()) << ValidatePlan(*plan, layout, limits);
      EXPECT_EQ(plan->layers[0].schedule.all_to_all, "two_level");
      EXPECT_EQ(plan->layers[0].schedule.chunks, 2);
      EXPECT_EQ(plan->layers[0].schedule.dispatch_compressor, "bf16");
      for (int e = 0; e < experts; ++e) {
        const Rank rank = ContiguousRank(e, experts, ranks);
        EXPECT_TRUE(plan->layers[1].SlotIndex(rank, ExpertId(e)))
            << "expert " << e << " of " << experts << " on " << ranks;
        const auto blocks = layout.ExpertBlocks(LayerId(1), ExpertId(e));
        for (int b = blocks.first; b < blocks.last; ++b) EXPECT_EQ(plan->homes[b], rank);
      }
      if (experts % ranks == 0) {  // then dense blocks (at most 20 elements) even out
        const auto held = HomeElements(plan->homes, layout, ranks);
        EXPECT_LE(*std::max_element(held.begin(), held.end()) - *std::min_element(held.begin(), held.end()),
                  20);
      }
    }
  }
}

TEST(Contiguous, RefusesWhatDoesNotFit) {
  JobConfig job = testing::SmallJob(1, 9, 2);
  const ParameterLayout layout = testing::LayoutOf(job);
  const auto refused = [&](int ranks, const std::string& text) {
    const auto plan = ContiguousPlan(job, layout, ranks);
    EXPECT_EQ(plan.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(plan.status().message()), HasSubstr(text));
  };
  refused(4, "placement.slots_per_rank: found 2, but 9 experts on 4 ranks need at least 3");
  refused(0, "ranks: found 0");
  job.placement.home_elements_per_rank = 100;
  refused(5,
          "placement.home_elements_per_rank: found 100, but the contiguous plan on 5 ranks needs at least");
}

TEST(Limits, DefaultsAreFilledIn) {
  JobConfig job = testing::SmallJob(2, 8, 3);
  const ParameterLayout layout = testing::LayoutOf(job);
  PlanLimits limits = LimitsFor(job, layout, 4);
  EXPECT_EQ(limits.ranks, 4);
  EXPECT_EQ(limits.slots_per_rank, 3);
  EXPECT_EQ(limits.home_elements_per_rank, 2 * ((layout.total_elements() + 3) / 4));
  EXPECT_EQ(limits.home_move_bytes_max, 64 << 20);
  job.placement.home_elements_per_rank = 77;
  job.placement.home_move_bytes_max = 88;
  limits = LimitsFor(job, layout, 4);
  EXPECT_EQ(limits.home_elements_per_rank, 77);
  EXPECT_EQ(limits.home_move_bytes_max, 88);
}

TEST(Load, Imbalances) {
  EXPECT_EQ(MaxOverMean({5, 5, 5}), 1);
  EXPECT_EQ(MaxOverMean({6, 2, 1}), 2);
  EXPECT_EQ(MaxOverMean({0, 0}), 1);
  EXPECT_EQ(MaxOverMean({30, 10}, {3, 1}), 1);
  EXPECT_EQ(MaxOverMean({20, 20}, {3, 1}), 2);
  const StepLoad load{Step(1), {{6, 2, 1, 3}, {0, 0, 0, 0}, {4, 4, 4, 4}}};
  EXPECT_DOUBLE_EQ(ContiguousImbalance(load, 2), (8.0 / 6 + 1 + 1) / 3);
  EXPECT_DOUBLE_EQ(ContiguousImbalance(load, 4), (2.0 + 1 + 1) / 3);

  PlanBody plan;
  plan.speeds = {65536, 65536};
  LayerPlan layer;
  layer.slots = {{ExpertId(0), ExpertId(1), Slot()}, {ExpertId(2), ExpertId(3), Slot()}};
  plan.layers = {layer, layer, layer};
  EXPECT_DOUBLE_EQ(PlannedImbalance(load, plan), ContiguousImbalance(load, 2));
  plan.layers[0].slots[1][2] = ExpertId(0);  // now the split can even it out
  EXPECT_DOUBLE_EQ(PlannedImbalance(load, plan), 1);
  plan.layers[0].split.kind = SplitKind::kEven;  // 5 and 7 of 12
  EXPECT_DOUBLE_EQ(PlannedImbalance(load, plan), (7.0 / 6 + 1 + 1) / 3);
  plan.layers[0].split.kind = SplitKind::kExact;
  plan.speeds = {131072, 65536};  // the plan splits 8 to 4, but the ranks are equal
  EXPECT_DOUBLE_EQ(PlannedImbalance(load.tokens, plan, {1, 1}), (8.0 / 6 + 1 + 1) / 3);
}

TEST(Topology, NodesAreNumberedByTheirLowestRank) {
  const Topology t = Topology::FromNodeNames({"b", "a", "b", "c"});
  EXPECT_THAT(t.node_of_rank, ElementsAre(NodeId(0), NodeId(1), NodeId(0), NodeId(2)));
  EXPECT_THAT(t.node_names, ElementsAre("b", "a", "c"));
  EXPECT_THAT(t.RanksOf(NodeId(0)), ElementsAre(Rank(0), Rank(2)));
  EXPECT_EQ(t.ranks(), 4);
  EXPECT_EQ(t.nodes(), 3);
  EXPECT_THAT(Topology::OneNode(2).node_names, ElementsAre("local"));
}

}  // namespace
}  // namespace ballast
