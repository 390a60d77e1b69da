// What the optimizer finds wrong or does not run.
#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "tests/worker/comm/communicator_fixture.h"
#include "tests/worker/optimizer/optimizer_fixture.h"
#include "tests/worker/optimizer/random_plan.h"
#include "worker/backend/cpu/cpu_backend.h"
#include "worker/comm/thread_communicator.h"
#include "worker/optimizer/optimizer.h"

namespace ballast {
namespace {

TEST(Optimizer, NonFiniteGradientIsFoundWhereItsHomeIs) {
  const ParameterLayout layout = OddLayout();
  Rng rng(4);
  auto plan = std::make_shared<Plan>();
  plan->body = RandomPlan(rng, layout, 2, kSlotsPerRank, nullptr);
  const BlockId bad(7);
  plan->body.homes[bad.index()] = Rank(1);
  ThreadCommunicatorGroup group(2);
  OnAllRanks(2, [&](Rank self) {
    auto backend = MakeCpuBackend(DType::kFloat32).value();
    auto stream = backend->NewStream();
    auto communicator = group.Take(self);
    const OptimizerOptions options = OptionsFor(2, 1, WindowsFor(layout, {plan}));
    auto made = Optimizer::Make(
        options, layout, plan, [](BlockId, void*) { return absl::OkStatus(); }, *backend, *stream,
        *communicator, After(60));
    ASSERT_TRUE(made.ok()) << made.status();
    Optimizer& optimizer = **made;
    ASSERT_TRUE(optimizer.BeginStep(plan, plan).ok());
    if (self == Rank(0)) {
      *BlockIn(layout, plan->body, optimizer.parameters(), self, bad, true) = INFINITY;
    }
    ASSERT_TRUE(optimizer.Reduce(After(60)).ok());
    std::optional<BlockId> found = optimizer.NonFinite(optimizer.BlockSquares().value());
    EXPECT_EQ(found.has_value(), self == Rank(1));
    if (found.has_value()) {
      EXPECT_EQ(*found, bad);
    }
  });
}

TEST(Optimizer, LostPeerEndsTheStepWithItsName) {
  const ParameterLayout layout = OddLayout();
  Rng rng(4);
  auto plan = std::make_shared<Plan>();
  plan->body = RandomPlan(rng, layout, 2, kSlotsPerRank, nullptr);
  ThreadCommunicatorGroup group(2);
  auto other = group.Take(Rank(1));
  group.Kill(Rank(1));
  auto backend = MakeCpuBackend(DType::kFloat32).value();
  auto stream = backend->NewStream();
  auto communicator = group.Take(Rank(0));
  const OptimizerOptions options = OptionsFor(2, 1, WindowsFor(layout, {plan}));
  auto made = Optimizer::Make(
      options, layout, plan, [](BlockId, void*) { return absl::OkStatus(); }, *backend, *stream,
      *communicator, After(60));
  EXPECT_EQ(made.status().code(), absl::StatusCode::kUnavailable) << made.status();
  EXPECT_NE(std::string(made.status().message()).find("rank 1"), std::string::npos);
}

TEST(Optimizer, APlanThatNeedsLargerWindowsIsNotRun) {
  const ParameterLayout layout = OddLayout();
  Rng rng(4);
  auto plan = std::make_shared<Plan>();
  plan->body = RandomPlan(rng, layout, 2, kSlotsPerRank, nullptr);
  ThreadCommunicatorGroup group(2);
  auto backend = MakeCpuBackend(DType::kFloat32).value();
  auto stream = backend->NewStream();
  auto communicator = group.Take(Rank(0));
  const WindowNeed need = NeededWindows(layout, kSizes, plan->body, plan->body, Rank(0));
  const OptimizerOptions options = OptionsFor(2, 1, std::max(need.send, need.recv) - 1);
  auto made = Optimizer::Make(
      options, layout, plan, [](BlockId, void*) { return absl::OkStatus(); }, *backend, *stream,
      *communicator, After(60));
  EXPECT_EQ(made.status().code(), absl::StatusCode::kFailedPrecondition) << made.status();
}

}  // namespace
}  // namespace ballast
