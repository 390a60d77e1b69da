// Training in bfloat16 on the CPU: what its rounding does to a run (what it must not do is
// in switch_test.cc).
#include <gtest/gtest.h>

#include <iostream>
#include <vector>

#include "tests/worker/trainer/training_run.h"
#include "worker/backend/cpu/cpu_backend.h"

namespace ballast {
namespace {

RunSpec SpecOf(DType dtype, int ranks) {
  RunSpec spec;
  spec.job = TinyJob();
  spec.job.training.steps = 100;
  spec.job.placement.slots_per_rank = spec.job.model.moe.experts;  // one rank holds them all
  spec.ranks = ranks;
  spec.make_backend = [dtype](Rank) { return MakeCpuBackend(dtype).value(); };
  return spec;
}

std::vector<double> Losses(const RunSpec& spec) {
  const RunOutcome outcome = RunTraining(spec);
  for (const TrainResult& result : outcome.results) EXPECT_TRUE(result.status.ok()) << result.status;
  return outcome.losses();
}

// Three times the most that was measured over 100 steps, between one and two ranks in bfloat16.
constexpr double kBound = 3 * 0.011;

TEST(BFloat16Training, FollowsFloat) {
  const std::vector<double> single = Losses(SpecOf(DType::kFloat32, 1));
  const std::vector<double> half = Losses(SpecOf(DType::kBFloat16, 1));
  ASSERT_EQ(half.size(), 100u);
  EXPECT_LT(half.back(), 0.75 * half.front());
  EXPECT_NE(half, single);
  const double difference = RelativeDifference(half, single);
  std::cout << "largest relative difference of a loss " << difference << "\n";
  EXPECT_LT(difference, kBound);
}

TEST(BFloat16Training, OneAndTwoRanksAgree) {
  const std::vector<double> one = Losses(SpecOf(DType::kBFloat16, 1));
  for (int ranks : {2, 3}) {
    const double difference = RelativeDifference(Losses(SpecOf(DType::kBFloat16, ranks)), one);
    std::cout << ranks << " ranks: largest relative difference of a loss " << difference << "\n";
    EXPECT_LT(difference, kBound);
  }
}

}  // namespace
}  // namespace ballast
