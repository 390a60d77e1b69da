// Whole training runs on devices beside the same runs on the CPU.
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

#include "base/check.h"
#include "tests/gpu/plugin_fixture.h"
#include "tests/worker/comm/communicator_fixture.h"
#include "tests/worker/comm/memory_store.h"
#include "tests/worker/trainer/training_run.h"
#include "worker/backend/cpu/cpu_backend.h"
#include "worker/comm/communicator_pair.h"

namespace ballast {
namespace {

class CudaTraining : public testing::Test {
 protected:
  void SetUp() override { BALLAST_PLUGIN_OR_SKIP(plugin_); }

  static RunSpec OnCpu(int ranks) {
    RunSpec spec;
    spec.job = TinyJob();
    spec.job.training.steps = 30;
    spec.job.placement.slots_per_rank = spec.job.model.moe.experts;  // one rank holds them all
    spec.ranks = ranks;
    return spec;
  }

  // Rank r on device r.
  RunSpec OnDevices(int ranks, DType dtype) {
    RunSpec spec = OnCpu(ranks);
    spec.make_backend = [this, dtype](Rank rank) {
      auto backend = plugin_->MakeBackend(rank.value(), dtype, std::numeric_limits<size_t>::max());
      BALLAST_CHECK_OK(backend.status());
      return *std::move(backend);
    };
    spec.connect = [this, ranks](Rank rank) {
      DeviceCommunicatorOptions options{.rank = rank,
                                        .size = ranks,
                                        .generation = Generation(generation_),
                                        .device = rank.value(),
                                        .deadline = After(60)};
      auto main = plugin_->Connect(options, store_);
      BALLAST_CHECK_OK(main.status());
      options.name = "refresh";
      options.thread_blocks_max = 8;
      auto refresh = plugin_->Connect(options, store_);
      BALLAST_CHECK_OK(refresh.status());
      return std::make_unique<CommunicatorPair>(*std::move(main), *std::move(refresh));
    };
    return spec;
  }

  std::vector<double> Losses(const RunSpec& spec) {
    const RunOutcome outcome = RunTraining(spec);
    for (const TrainResult& result : outcome.results) EXPECT_TRUE(result.status.ok()) << result.status;
    ++generation_;
    return outcome.losses();
  }
  DevicePlugin* plugin_ = nullptr;
  MemoryStore store_;
  int64_t generation_ = 1;
};

TEST_F(CudaTraining, OneRankFollowsTheCpu) {
  const std::vector<double> cpu = Losses(OnCpu(1));
  const std::vector<double> single = Losses(OnDevices(1, DType::kFloat32));
  const std::vector<double> half = Losses(OnDevices(1, DType::kBFloat16));
  RunSpec half_on_cpu = OnCpu(1);
  half_on_cpu.make_backend = [](Rank) { return MakeCpuBackend(DType::kBFloat16).value(); };
  const std::vector<double> cpu_half = Losses(half_on_cpu);
  ASSERT_EQ(cpu.size(), 30u);
  EXPECT_LT(cpu.back(), cpu.front());
  std::cout << "largest relative difference of a loss: float32 " << RelativeDifference(single, cpu)
            << ", bfloat16 " << RelativeDifference(half, cpu) << "; of bfloat16 from the CPU's "
            << RelativeDifference(half, cpu_half) << ", which is " << RelativeDifference(cpu_half, cpu)
            << " from its float32\n";
  EXPECT_LT(RelativeDifference(single, cpu), 1e-5);
  EXPECT_LT(RelativeDifference(half, cpu), 1e-2);
  EXPECT_LT(RelativeDifference(half, cpu_half), 1e-2);
}

TEST_F(CudaTraining, ARunRepeatsBitForBit) {
  for (DType dtype : {DType::kFloat32, DType::kBFloat16}) {
    EXPECT_EQ(Losses(OnDevices(1, dtype)), Losses(OnDevices(1, dtype)));
  }
}

TEST_F(CudaTraining, ActivationsWorkedOutAgainChangeNoBit) {
  for (DType dtype : {DType::kFloat32, DType::kBFloat16}) {
    const std::vector<double> kept = Losses(OnDevices(1, dtype));
    for (Recompute recompute : {Recompute::kMoe, Recompute::kFull}) {
      RunSpec spec = OnDevices(1, dtype);
      spec.job.training.recompute = recompute;
      EXPECT_EQ(Losses(spec), kept);
    }
  }
}

TEST_F(CudaTraining, TheDeviceTellsWhereTheTimeGoes) {
  const int ranks = std::min<int>(2, static_cast<int>(plugin_->Devices()->size()));
  const RunOutcome outcome = RunTraining(OnDevices(ranks, DType::kFloat32));
  ++generation_;
  for (int r = 0; r < ranks; ++r) {
    const std::vector<RankStep>& steps = outcome.rank_steps.at(Rank(r));
    ASSERT_EQ(steps.size(), 30u);
    for (const RankStep& step : steps) {
      double sum = 0;
      for (double seconds : step.phase_seconds) {
        EXPECT_GE(seconds, 0);
        sum += seconds;
      }
      EXPECT_NEAR(sum, step.seconds, 0.05 * step.seconds) << "the phases add up to the step";
      for (Phase phase : {Phase::kDenseForward, Phase::kRouter, Phase::kExperts, Phase::kDenseBackward,
                          Phase::kExpertsBackward, Phase::kUpdate}) {
        EXPECT_GT(step.phase_seconds[static_cast<size_t>(phase)], 0) << ToString(phase) << " of rank " << r;
      }
      for (const LinkUse& link : step.links) {
        EXPECT_GT(link.receive_seconds, 0);
        EXPECT_LT(link.receive_seconds, step.seconds);
      }
      EXPECT_EQ(step.links.size(), static_cast<size_t>(ranks - 1));
    }
  }
}

TEST_F(CudaTraining, TwoRanksAgreeAndSlotMovesChangeNoBit) {
  if (plugin_->Devices()->size() < 2) GTEST_SKIP() << "needs 2 devices; here is 1";
  const std::vector<double> cpu = Losses(OnCpu(1));
  for (DType dtype : {DType::kFloat32, DType::kBFloat16}) {
    RunSpec spec = OnDevices(2, dtype);
    const std::vector<double> contiguous = Losses(spec);
    EXPECT_LT(RelativeDifference(contiguous, cpu), dtype == DType::kFloat32 ? 1e-5 : 1e-2);
    spec.edit = [](PlanBody& body) {
      for (LayerPlan& layer : body.layers) std::swap(layer.slots[0], layer.slots[1]);
    };
    EXPECT_EQ(Losses(spec), contiguous);
  }
}

}  // namespace
}  // namespace ballast
