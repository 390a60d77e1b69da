#include "plan/validate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>

#include "plan/diff.h"
#include "tests/plan/fixtures.h"

namespace ballast {
namespace {

using ::testing::HasSubstr;

// 2 layers of 4 experts on 3 ranks of 3 slots.
struct Good {
  JobConfig job = testing::SmallJob(2, 4, 3);
  ParameterLayout layout = testing::LayoutOf(job);
  PlanLimits limits = LimitsFor(job, layout, 3);
  PlanBody plan = *ContiguousPlan(job, layout, 3);

  void UseFractions(LayerPlan& layer) const {
    layer.split.kind = SplitKind::kFractions;
    layer.split.fractions.clear();
    for (const auto& slots : layer.slots) {
      layer.split.fractions.emplace_back();
      for (const Slot& slot : slots) layer.split.fractions.back().push_back(slot ? 65536 : 0);
    }
  }
};

TEST(Validate, AcceptsGoodPlans) {
  Good g;
  EXPECT_TRUE(ValidatePlan(g.plan, g.layout, g.limits).ok());
  g.UseFractions(g.plan.layers[1]);
  EXPECT_TRUE(ValidatePlan(g.plan, g.layout, g.limits).ok()) << ValidatePlan(g.plan, g.layout, g.limits);
}

TEST(Validate, RefusesEveryKindOfBadPlan) {
  struct Bad {
    std::function<void(Good&)> change;
    std::string text;
  };
  // Contiguous on 3 ranks: rank 0 has expert 0, rank 1 has 1, rank 2 has 2 and 3.
  const std::vector<Bad> bads = {
      {[](Good& g) { g.plan.speeds.pop_back(); }, "speeds: found 2 entries, allowed is 3"},
      {[](Good& g) { g.plan.speeds[1] = 0; }, "speeds[1]: found 0, allowed 1..1048576"},
      {[](Good& g) { g.plan.speeds[1] = 1048577; }, "speeds[1]: found 1048577"},
      {[](Good& g) { g.plan.homes.pop_back(); }, "homes: found"},
      {[](Good& g) { g.plan.homes[7] = Rank(3); }, "homes[7]: found rank 3, allowed 0..2"},
      {[](Good& g) { g.plan.homes[7] = Rank(-1); }, "homes[7]: found rank -1"},
      {[](Good& g) { g.plan.homes.assign(g.plan.homes.size(), Rank(1)); }, "homes of rank 1: found"},
      {[](Good& g) { g.plan.layers.pop_back(); }, "layers: found 1 entries, allowed is 2"},
      {[](Good& g) { g.plan.layers[1].slots.pop_back(); }, "layers[1].slots: found 2 entries, allowed is 3"},
      {[](Good& g) { g.plan.layers[1].slots[0].push_back(Slot()); },
       "layers[1].slots[0]: found 4 entries, allowed is 3"},
      {[](Good& g) { g.plan.layers[1].slots[0].pop_back(); }, "layers[1].slots[0]: found 2 entries"},
      {[](Good& g) { g.plan.layers[0].slots[1][2] = ExpertId(4); },
       "layers[0].slots[1][2]: found expert 4, allowed 0..3"},
      {[](Good& g) { g.plan.layers[0].slots[1][2] = ExpertId(std::numeric_limits<int32_t>::min()); },
       "layers[0].slots[1][2]: found expert -2147483648"},
      {[](Good& g) { g.plan.layers[0].slots[2][2] = ExpertId(3); },
       "layers[0].slots[2][2]: expert 3 has a second slot on the rank"},
      {[](Good& g) { g.plan.layers[1].slots[2][1] = Slot(); }, "layers[1].slots: expert 3 has no slot"},
      {[](Good& g) { g.plan.layers[1].split.kind = static_cast<SplitKind>(0); },
       "layers[1].split.kind: found 0, allowed 1 (exact)"},
      {[](Good& g) { g.plan.layers[1].split.fractions = {{1}}; },
       "layers[1].split.fractions: found 1 entries"},
      {[](Good& g) { g.plan.layers[1].split.kind = SplitKind::kFractions; },
       "layers[1].split.fractions: found 0 entries, allowed is 3"},
      {[](Good& g) {
         g.UseFractions(g.plan.layers[1]);
         g.plan.layers[1].split.fractions[2].pop_back();
       },
       "layers[1].split.fractions[2]: found 2 entries, allowed is 3"},
      {[](Good& g) {
         g.UseFractions(g.plan.layers[1]);
         g.plan.layers[1].split.fractions[0][0] = 65537;
       },
       "layers[1].split.fractions[0][0]: found 65537, allowed 0..65536"},
      {[](Good& g) {
         g.UseFractions(g.plan.layers[1]);
         g.plan.layers[1].split.fractions[0][2] = 1;
       },
       "layers[1].split.fractions[0][2]: found 1, allowed 0..0 (the slot is empty)"},
      {[](Good& g) {
         g.UseFractions(g.plan.layers[1]);
         g.plan.layers[1].split.fractions[0][0] = 65535;
       },
       "those of expert 0 sum to 65535, allowed is 65536"},
      {[](Good& g) { g.plan.layers[0].schedule.all_to_all = "ring"; },
       "layers[0].schedule.all_to_all: found \"ring\", allowed: direct, rails, two_level"},
      {[](Good& g) { g.plan.layers[0].schedule.task_order = ""; },
       "layers[0].schedule.task_order: found \"\", allowed: grouped"},
      {[](Good& g) { g.plan.layers[0].schedule.dispatch_compressor = "zip"; },
       "layers[0].schedule.dispatch_compressor: found \"zip\", allowed: none, bf16"},
      {[](Good& g) { g.plan.layers[0].schedule.combine_compressor = std::string(100000, 'x'); },
       "layers[0].schedule.combine_compressor: found \"" + std::string(64, 'x') + "\""},
      {[](Good& g) { g.plan.layers[0].schedule.chunks = 0; },
       "layers[0].schedule.chunks: found 0, allowed 1..8"},
      {[](Good& g) { g.plan.layers[0].schedule.chunks = 9; }, "layers[0].schedule.chunks: found 9"},
      {[](Good& g) { g.plan.reason = std::string(4097, 'x'); }, "reason: found 4097 bytes"},
      {[](Good& g) { g.plan.predicted_step_seconds = -1; }, "predicted_step_seconds: found -1"},
      {[](Good& g) { g.plan.predicted_step_seconds = std::numeric_limits<double>::quiet_NaN(); },
       "predicted_step_seconds: found nan"},
      {[](Good& g) { g.plan = PlanBody(); }, "speeds: found 0 entries, allowed is 3"},
  };
  for (const Bad& bad : bads) {
    Good g;
    bad.change(g);
    const absl::Status status = ValidatePlan(g.plan, g.layout, g.limits);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << bad.text;
    EXPECT_THAT(std::string(status.message()), HasSubstr(bad.text));
    // A transition is refused for the same reason, from either side.
    const Good fine;
    EXPECT_EQ(ValidateTransition(fine.plan, g.plan, g.layout, g.limits), status);
    EXPECT_EQ(ValidateTransition(g.plan, fine.plan, g.layout, g.limits), status);
  }
}

TEST(Validate, AnExpertThatStaysKeepsItsSlot) {
  const Good g;
  PlanBody next = g.plan;
  EXPECT_TRUE(ValidateTransition(g.plan, next, g.layout, g.limits).ok());
  std::swap(next.layers[1].slots[2][1], next.layers[1].slots[2][2]);
  const absl::Status status = ValidateTransition(g.plan, next, g.layout, g.limits);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("layers[1].slots[2]: expert 3 stays on the rank and moves from slot 1 to slot 2"));
  // Leaving, and arriving elsewhere at another index, is fine.
  next = g.plan;
  next.layers[1].slots[2][1] = Slot();
  next.layers[1].slots[0][2] = ExpertId(3);
  EXPECT_TRUE(ValidateTransition(g.plan, next, g.layout, g.limits).ok());
}

TEST(Validate, HomeMovesAreBoundedAtBothEnds) {
  Good g;
  // Two blocks of 20 elements, 240 bytes each, both from rank a to rank b.
  const auto from0 = g.layout.ExpertBlocks(LayerId(0), ExpertId(0)).first;
  PlanBody next = g.plan;
  next.homes[from0] = next.homes[from0 + 1] = Rank(1);
  g.limits.home_move_bytes_max = 480;
  EXPECT_TRUE(ValidateTransition(g.plan, next, g.layout, g.limits).ok());
  g.limits.home_move_bytes_max = 479;
  EXPECT_THAT(std::string(ValidateTransition(g.plan, next, g.layout, g.limits).message()),
              HasSubstr("homes: the plan moves 480 bytes out of rank 0, allowed at most 479"));
  // To different ranks: what leaves is still too much, what enters is not.
  next.homes[from0 + 1] = Rank(2);
  EXPECT_THAT(std::string(ValidateTransition(g.plan, next, g.layout, g.limits).message()),
              HasSubstr("480 bytes out of rank 0"));
  // From different ranks into one.
  next = g.plan;
  next.homes[from0] = Rank(1);
  next.homes[g.layout.ExpertBlocks(LayerId(0), ExpertId(3)).first] = Rank(1);
  EXPECT_THAT(std::string(ValidateTransition(g.plan, next, g.layout, g.limits).message()),
              HasSubstr("480 bytes into rank 1"));
}

TEST(Diff, CountsWhatChanges) {
  const Good g;
  EXPECT_TRUE(Diff(g.plan, g.plan, g.layout).empty());
  EXPECT_EQ(Diff(g.plan, g.plan, g.layout).Summary(), "no change");
  PlanBody next = g.plan;
  next.layers[0].slots[0][1] = ExpertId(2);  // a copy
  next.layers[1].slots[2][1] = ExpertId(0);  // in the place of 3, which goes to rank 1
  next.layers[1].slots[1][1] = ExpertId(3);
  next.layers[1].schedule.chunks = 2;
  next.speeds[1] = 5;
  const int block = g.layout.ExpertBlocks(LayerId(1), ExpertId(3)).first;
  next.homes[block] = Rank(1);
  const PlanDiff diff = Diff(g.plan, next, g.layout);
  EXPECT_EQ(diff.slot_writes, (std::vector<SlotWrite>{{LayerId(0), Rank(0), 1, ExpertId(2)},
                                                      {LayerId(1), Rank(1), 1, ExpertId(3)},
                                                      {LayerId(1), Rank(2), 1, ExpertId(0)}}));
  EXPECT_EQ(diff.home_moves, (std::vector<HomeMove>{{BlockId(block), Rank(2), Rank(1)}}));
  EXPECT_EQ(diff.home_bytes_out, (std::vector<int64_t>{0, 0, 240}));
  EXPECT_EQ(diff.home_bytes_in, (std::vector<int64_t>{0, 240, 0}));
  EXPECT_EQ(diff.slots_dropped, 1);
  EXPECT_EQ(diff.speeds_changed, 1);
  EXPECT_EQ(diff.schedules_changed, 1);
  EXPECT_FALSE(diff.empty());
  EXPECT_EQ(diff.Summary(),
            "3 slot writes, 1 slot dropped, 1 home move (240 B), 1 rank speed changed, 1 schedule change");
}

}  // namespace
}  // namespace ballast
