// I5 alone: ranks whose plans and slots agree pass, and each way to disagree is seen.
#include "sim/route_checker.h"

#include <functional>

#include "gtest/gtest.h"
#include "sim/scenario.h"
#include "sim/violation.h"

namespace ballast::sim {
namespace {

constexpr int kRanks = 3;
constexpr int kExperts = 4;

// Expert e on rank e % 3, expert 0 on rank 1 as well.
PlanBody FirstPlan() {
  PlanBody body;
  body.speeds.assign(kRanks, 1 << 16);
  LayerPlan& layer = body.layers.emplace_back();
  layer.slots.assign(kRanks, std::vector<Slot>(kExperts));
  for (int e = 0; e < kExperts; ++e)
    layer.slots[static_cast<size_t>(e % kRanks)][static_cast<size_t>(e)] = ExpertId(e);
  layer.slots[1][0] = ExpertId(0);
  return body;
}

// Expert 3 has moved from rank 0 to rank 2.
PlanBody NextPlan() {
  PlanBody body = FirstPlan();
  std::vector<std::vector<Slot>>& slots = body.layers[0].slots;
  std::swap(slots[0][3], slots[2][3]);
  return body;
}

class RouteCheckerTest : public testing::Test {
 protected:
  struct Plans {
    PlanBody routed, filled;
  };
  // All ranks begin steps 1 to 20, in an order that changes; what was found, or nothing.
  std::string Run(const std::function<Plans(Rank)>& plans) {
    try {
      for (int64_t step = 1; step <= 20; ++step) {
        for (int i = 0; i < kRanks; ++i) {
          const Rank rank(static_cast<int>((i + step) % kRanks));
          const Plans of = plans(rank);
          checker_.OnRoute(run_, rank, Step(step), of.routed, of.filled, Topology::OneNode(kRanks));
        }
      }
    } catch (const Violation& violation) {
      EXPECT_EQ(violation.checker, "I5");
      return violation.what();
    }
    return "";
  }

  const RunKey run_{Generation(1), {Incarnation(1), Incarnation(2), Incarnation(3)}};
  RouteChecker checker_{7, *JobOf(ScenarioOf(1))};
};

TEST_F(RouteCheckerTest, OnePlanPassesAndEverythingIsCounted) {
  EXPECT_EQ(Run([](Rank) { return Plans{FirstPlan(), FirstPlan()}; }), "");
  EXPECT_EQ(checker_.figures().layers, 20);
  // One sequence of 8 tokens per rank and step.
  EXPECT_EQ(checker_.figures().assignments, 20 * kRanks * 8);
  EXPECT_GT(checker_.figures().travelled, 20 * kRanks);
  EXPECT_LT(checker_.figures().travelled, checker_.figures().assignments);
}

TEST_F(RouteCheckerTest, ARankWithAnotherPlanIsFound) {
  for (int other = 0; other < kRanks; ++other) {
    SCOPED_TRACE(other);
    const std::string found = Run([&](Rank rank) {
      const PlanBody plan = rank == Rank(other) ? NextPlan() : FirstPlan();
      return Plans{plan, plan};
    });
    EXPECT_NE(found, "");
  }
}

TEST_F(RouteCheckerTest, RoutesThatAgreeAndGoToSlotsOfAnotherPlanAreFound) {
  const std::string found = Run([](Rank) { return Plans{FirstPlan(), NextPlan()}; });
  EXPECT_NE(found.find("rank 0 receives"), std::string::npos) << found;
  EXPECT_NE(found.find("rows of expert 3 in slot 3, which holds none"), std::string::npos) << found;
}

TEST_F(RouteCheckerTest, AnotherShareOfAnExpertThatTwoRanksHoldIsFound) {
  const std::string found = Run([](Rank rank) {
    PlanBody plan = FirstPlan();
    if (rank == Rank(2)) plan.speeds[0] /= 8;
    return Plans{plan, plan};
  });
  EXPECT_NE(found.find("which expects"), std::string::npos) << found;
}

TEST_F(RouteCheckerTest, AnExpertWithTokensAndNoSlotIsFound) {
  const std::string found = Run([](Rank) {
    PlanBody plan = FirstPlan();
    plan.layers[0].slots[2][2] = Slot();
    return Plans{plan, plan};
  });
  EXPECT_NE(found.find("expert 2 has"), std::string::npos) << found;
}

TEST_F(RouteCheckerTest, OtherRunsDoNotMeet) {
  EXPECT_EQ(Run([](Rank) { return Plans{FirstPlan(), FirstPlan()}; }), "");
  const RunKey other{Generation(2), run_.second};
  for (int r = 0; r < kRanks; ++r) {
    checker_.OnRoute(run_, Rank(r), Step(30), FirstPlan(), FirstPlan(), Topology::OneNode(kRanks));
    checker_.OnRoute(other, Rank(r), Step(30), NextPlan(), NextPlan(), Topology::OneNode(kRanks));
  }
  EXPECT_EQ(checker_.figures().layers, 22);
}

}  // namespace
}  // namespace ballast::sim
