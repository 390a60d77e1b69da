// Switching plans in mid-run changes nothing that matters: no bit when slots and homes only move, rounding
// when experts are replicated, whatever the all-to-all.
#include <gtest/gtest.h>

#include "tests/worker/trainer/moving_plans.h"
#include "tests/worker/trainer/training_run.h"
#include "worker/backend/cpu/cpu_backend.h"

namespace ballast {
namespace {

constexpr int kRanks = 4;

RunSpec Spec() {
  RunSpec spec;
  spec.job = TinyJob();
  spec.ranks = kRanks;
  spec.job.training.evaluation_sequences = 5;
  spec.job.training.evaluate_every = 20;
  return spec;
}

// Every plan became active, at one step on all ranks, rising.
void ExpectAllActive(const RunOutcome& outcome, const std::vector<PlanPtr>& plans) {
  for (const TrainResult& result : outcome.results) EXPECT_TRUE(result.status.ok()) << result.status;
  ASSERT_EQ(outcome.active.size(), plans.size());
  Step last(1);
  for (const PlanPtr& plan : plans) {
    const std::map<Rank, Step>& steps = outcome.active.at(plan->stamp.version);
    ASSERT_EQ(steps.size(), static_cast<size_t>(kRanks));
    for (const auto& [rank, step] : steps) EXPECT_EQ(step, steps.begin()->second);
    EXPECT_GT(steps.begin()->second, last);
    EXPECT_GE(steps.begin()->second, plan->stamp.not_before_step);
    last = steps.begin()->second;
  }
  // The reports say which plan each step ran.
  for (const StepReport& report : outcome.reports) {
    PlanVersion expected(1);
    for (const auto& [version, steps] : outcome.active) {
      if (steps.begin()->second <= report.step) expected = version;
    }
    EXPECT_EQ(report.plan, expected) << "step " << report.step;
  }
}

std::vector<double> Evaluations(const RunOutcome& outcome) {
  std::vector<double> losses;
  for (const EvaluationReport& report : outcome.evaluations) losses.push_back(report.loss);
  return losses;
}

std::vector<double> GradientNorms(const RunOutcome& outcome) {
  std::vector<double> norms;
  for (const StepReport& report : outcome.reports) norms.push_back(report.gradient_norm);
  return norms;
}

class SwitchInType : public testing::TestWithParam<DType> {};
INSTANTIATE_TEST_SUITE_P(All, SwitchInType, testing::Values(DType::kFloat32, DType::kBFloat16),
                         [](const auto& info) { return ToString(info.param); });

TEST_P(SwitchInType, MovingSlotsAndHomesChangesNoBit) {
  RunSpec spec = Spec();
  spec.make_backend = [](Rank) { return MakeCpuBackend(GetParam()).value(); };
  RunOutcome contiguous = RunTraining(spec);
  ASSERT_EQ(contiguous.reports.size(), 60u);
  for (uint64_t seed : {1, 2, 3}) {
    SCOPED_TRACE(seed);
    PlanScript script = MakePlans(spec.job, kRanks, 12, /*replicate=*/false, seed);
    EXPECT_GE(script.with_home_moves, 3);
    std::cout << "12 plans: " << script.slot_writes << " slot writes, " << script.with_home_moves
              << " with home moves\n";
    RunSpec moving = spec;
    moving.plans = script.plans;
    RunOutcome moved = RunTraining(moving);
    ExpectAllActive(moved, script.plans);
    EXPECT_EQ(moved.losses(), contiguous.losses());
    EXPECT_EQ(GradientNorms(moved), GradientNorms(contiguous));
    EXPECT_EQ(Evaluations(moved), Evaluations(contiguous));
  }
}

TEST(Switch, ReplicationIsWithinRounding) {
  RunSpec spec = Spec();
  RunOutcome contiguous = RunTraining(spec);
  for (uint64_t seed : {1, 2, 3}) {
    SCOPED_TRACE(seed);
    PlanScript script = MakePlans(spec.job, kRanks, 12, /*replicate=*/true, seed);
    RunSpec replicated = Spec();
    replicated.plans = script.plans;
    RunOutcome outcome = RunTraining(replicated);
    ExpectAllActive(outcome, script.plans);
    double difference = RelativeDifference(outcome.losses(), contiguous.losses());
    std::cout << "relative difference " << difference << "\n";
    EXPECT_LE(difference, 1e-4);
    EXPECT_GT(difference, 0) << "replicas split sums: equal bits would mean that nothing was replicated";
    EXPECT_LE(RelativeDifference(Evaluations(outcome), Evaluations(contiguous)), 1e-4);
  }
}

TEST(Switch, TwoLevelIsDirectBitForBit) {
  RunSpec spec = Spec();
  spec.node_of_rank = {0, 0, 0, 1};
  PlanScript script = MakePlans(spec.job, kRanks, 12, /*replicate=*/true, 5);
  spec.plans = script.plans;
  RunOutcome direct = RunTraining(spec);
  for (std::vector<int> nodes : {std::vector<int>{0, 0, 0, 1}, {0, 1, 0, 1}, {0, 1, 1, 2}}) {
    RunSpec other = spec;
    other.node_of_rank = nodes;
    auto two_level = [](PlanBody& body) {
      for (LayerPlan& layer : body.layers) layer.schedule.all_to_all = "two_level";
    };
    other.edit = two_level;
    for (PlanPtr& plan : other.plans) {
      auto copy = std::make_shared<Plan>(*plan);
      two_level(copy->body);
      plan = copy;
    }
    RunOutcome outcome = RunTraining(other);
    ExpectAllActive(outcome, other.plans);
    // The split prefers hosts of the source's node, so it is the same topology that must give the same bits.
    if (nodes == spec.node_of_rank) {
      EXPECT_EQ(outcome.losses(), direct.losses());
      EXPECT_EQ(GradientNorms(outcome), GradientNorms(direct));
    } else {
      RunSpec same = spec;
      same.node_of_rank = nodes;
      RunOutcome reference = RunTraining(same);
      EXPECT_EQ(outcome.losses(), reference.losses());
    }
  }
}

TEST(Switch, Bf16OnTheWireMovesWithoutChangingABitToo) {
  RunSpec spec = Spec();
  auto bf16 = [](PlanBody& body) {
    for (LayerPlan& layer : body.layers) {
      layer.schedule.dispatch_compressor = "bf16";
      layer.schedule.combine_compressor = "bf16";
    }
  };
  spec.edit = bf16;
  RunOutcome contiguous = RunTraining(spec);
  RunSpec moving = spec;
  for (PlanPtr plan : MakePlans(spec.job, kRanks, 12, /*replicate=*/false, 9).plans) {
    auto copy = std::make_shared<Plan>(*plan);
    bf16(copy->body);
    moving.plans.push_back(copy);
  }
  RunOutcome moved = RunTraining(moving);
  ExpectAllActive(moved, moving.plans);
  EXPECT_EQ(moved.losses(), contiguous.losses());
  EXPECT_NE(moved.losses(), RunTraining(Spec()).losses()) << "bf16 was not used";
}

}  // namespace
}  // namespace ballast
