// In bfloat16 gradients of microbatches and of ranks are added up in float, rounded once a rank, and do not
// lose what is small beside the sum.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <tuple>
#include <vector>

#include "base/rng.h"
#include "tests/worker/comm/communicator_fixture.h"
#include "tests/worker/optimizer/optimizer_fixture.h"
#include "tests/worker/optimizer/random_plan.h"
#include "worker/backend/cpu/cpu_backend.h"
#include "worker/backend/cpu/kernels.h"
#include "worker/comm/thread_communicator.h"

namespace ballast {
namespace {

uint16_t Narrow(float value) {
  uint16_t bits = 0;
  cpu::ToBFloat16(&value, 1, &bits);
  return bits;
}
float Wide(uint16_t bits) {
  float value = 0;
  cpu::FromBFloat16(&bits, 1, &value);
  return value;
}

// What microbatch `m` leaves on `rank`: the first one much more than the others, so that a sum in bfloat16
// would not see those.
uint16_t Left(int rank, int64_t m, BlockId block, int64_t element) {
  Rng rng(HashSeed({static_cast<uint64_t>(rank), static_cast<uint64_t>(m), block.index(),
                    static_cast<uint64_t>(element)}));
  return Narrow(static_cast<float>(m == 0 ? 1 + rng.Normal() * 0.1 : std::abs(rng.Normal()) * 0x1p-9));
}

class GradientSums : public ::testing::TestWithParam<std::tuple<int, int64_t>> {};

TEST_P(GradientSums, AreTakenInFloatAndRoundedOnceARank) {
  const auto [ranks, microbatches] = GetParam();
  const ParameterLayout layout = OddLayout();
  Rng rng(HashSeed({41, static_cast<uint64_t>(ranks)}));
  auto plan = std::make_shared<Plan>();
  plan->body = RandomPlan(rng, layout, ranks, kSlotsPerRank, nullptr);
  const Holders holders(layout, plan->body);
  ThreadCommunicatorGroup group(ranks);
  OnAllRanks(ranks, [&, ranks = ranks, microbatches = microbatches](Rank self) {
    auto backend = MakeCpuBackend(DType::kBFloat16).value();
    auto stream = backend->NewStream();
    auto communicator = group.Take(self);
    OptimizerOptions options = OptionsFor(ranks, 2, WindowsFor(layout, {plan}));
    options.microbatches = microbatches;
    options.poison_vacated = true;
    auto made = Optimizer::Make(
        options, layout, plan, [](BlockId, void*) { return absl::OkStatus(); }, *backend, *stream,
        *communicator, After(60));
    ASSERT_TRUE(made.ok()) << made.status();
    Optimizer& optimizer = **made;
    // A second step must not see what the first one left.
    for (int step = 1; step <= 2; ++step) {
      ASSERT_TRUE(optimizer.BeginStep(plan, plan).ok());
      for (int64_t m = 0; m < microbatches; ++m) {
        ASSERT_TRUE(optimizer.BeginMicrobatch(m)) << "each microbatch leaves its own";
        for (int b = 0; b < static_cast<int>(layout.blocks().size()); ++b) {
          const BlockId block(b);
          if (!holders.Holds(self, block)) continue;
          auto* gradient =
              BlockIn<uint16_t>(layout, plan->body, optimizer.parameters(), self, block, /*gradient=*/true);
          const bool expert = layout.parameter_of(block).expert.has_value();
          for (int64_t i = 0; i < layout.block(block).elements; ++i) {
            ASSERT_TRUE(expert ? std::isnan(Wide(gradient[i])) : gradient[i] == 0) << "microbatch " << m;
            gradient[i] = Left(self.value() + step, m, block, i);
          }
        }
        optimizer.EndMicrobatch(m);
      }
      ASSERT_TRUE(optimizer.Reduce(After(60)).ok());
      const std::vector<double> found = optimizer.BlockSquares().value();
      size_t next = 0;
      bool narrow_would_differ = false;
      for (int b = 0; b < static_cast<int>(layout.blocks().size()); ++b) {
        const BlockId block(b);
        if (plan->body.homes[b] != self) continue;
        double squares = 0;
        for (int64_t i = 0; i < layout.block(block).elements; ++i) {
          float sum = 0;
          uint16_t narrow = 0;
          for (Rank holder : holders.of(block)) {
            float of_rank = 0;
            for (int64_t m = 0; m < microbatches; ++m) {
              const uint16_t left = Left(holder.value() + step, m, block, i);
              of_rank += Wide(left);
              narrow = Narrow(Wide(narrow) + Wide(left));
            }
            sum += Wide(Narrow(of_rank));
          }
          squares += static_cast<double>(sum) * sum;
          narrow_would_differ |= std::abs(Wide(narrow) - sum) > 0.002F * std::abs(sum);
        }
        ASSERT_LT(next, found.size());
        EXPECT_NEAR(found[next++], squares, 1e-12 * squares) << "block " << block;
      }
      EXPECT_EQ(next, found.size());
      // Two microbatches of one rank are rounded once either way.
      EXPECT_EQ(narrow_would_differ, ranks > 1 || microbatches > 2);
    }
  });
}

INSTANTIATE_TEST_SUITE_P(RanksAndMicrobatches, GradientSums,
                         ::testing::Combine(::testing::Values(1, 2, 5), ::testing::Values<int64_t>(1, 2, 9)));

}  // namespace
}  // namespace ballast
