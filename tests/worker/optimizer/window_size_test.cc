#include "worker/optimizer/window_size.h"

#include <gtest/gtest.h>

#include "plan/contiguous.h"
#include "plan/diff.h"
#include "plan/home_moves.h"
#include "tests/worker/optimizer/random_plan.h"

namespace ballast {
namespace {

constexpr ElementSizes kSizes{.element_bytes = 4, .master_bytes = 8};

// A model of experts alone, almost: 8 of them on 8 ranks with 2 slots each.
JobConfig ManyExperts() {
  JobConfig job;
  job.name = JobId("experts");
  job.model = {.vocabulary_size = 2,
               .hidden_size = 2,
               .layers = 2,
               .attention_heads = 1,
               .key_value_heads = 1,
               .head_size = 2,
               .moe = {.experts = 8, .top_k = 1, .intermediate_size = 64}};
  job.placement.slots_per_rank = 2;
  job.placement.block_elements = 16;
  return job;
}

struct Model {
  explicit Model(int ranks)
      : layout(ParameterLayout::Make(job.model, job.placement.block_elements).value()),
        limits(LimitsFor(job, layout, ranks)),
        first(ContiguousPlan(job, layout, ranks).value()) {}

  absl::Status Check(const std::vector<const PlanBody*>& plans) const {
    const size_t window = WindowBytes(layout, limits, kSizes);
    for (int r = 0; r < limits.ranks; ++r) {
      absl::Status status = CheckWindows(layout, kSizes, plans, Rank(r), window);
      if (!status.ok()) return status;
    }
    return absl::OkStatus();
  }

  JobConfig job = ManyExperts();
  ParameterLayout layout;
  PlanLimits limits;
  PlanBody first;
};

TEST(WindowSize, IsWhatARankHoldsTwiceAndTheStatesThatMayMove) {
  Model model(8);
  model.limits.home_move_bytes_max = 10 * kHomeBytesPerElement;
  const int64_t dense = model.layout.total_elements() - 2 * 8 * model.layout.expert_elements();
  const size_t held = static_cast<size_t>(dense + 2 * 2 * model.layout.expert_elements());
  EXPECT_EQ(WindowBytes(model.layout, model.limits, kSizes), 2 * held * 4 + 10 * 3 * 8);
  model.limits.ranks = 2;
  EXPECT_EQ(WindowBytes(model.layout, model.limits, kSizes), held * 4 + 10 * 3 * 8) << "one peer";
  model.limits.ranks = 1;
  EXPECT_EQ(WindowBytes(model.layout, model.limits, kSizes), 0u) << "nobody to send to";
  // No more states can move than a rank may own.
  model.limits.ranks = 8;
  model.limits.home_move_bytes_max = int64_t{1} << 50;
  EXPECT_EQ(WindowBytes(model.layout, model.limits, kSizes),
            2 * held * 4 + static_cast<size_t>(model.limits.home_elements_per_rank) * 3 * 8);
}

TEST(WindowSize, AReplicatedExpertFitsWhenItsHomesAreSpread) {
  Model model(8);
  model.limits.home_move_bytes_max = 16 * kHomeBytesPerElement;  // one block
  ASSERT_TRUE(model.Check({&model.first}).ok());
  // Expert 0 of both layers on every rank, in the second slot; rank 0 has it already.
  PlanBody replicated = model.first;
  for (LayerPlan& layer : replicated.layers) {
    for (int r = 1; r < 8; ++r) layer.slots[r][1] = ExpertId(0);
  }
  ASSERT_TRUE(ValidateTransition(model.first, replicated, model.layout, model.limits).ok());
  absl::Status refused = model.Check({&model.first, &replicated});
  EXPECT_TRUE(absl::IsInvalidArgument(refused)) << refused;
  std::printf("%s\n", std::string(refused.message()).c_str());
  EXPECT_NE(refused.message().find("rank 0 would "), absl::string_view::npos) << refused;
  EXPECT_NE(refused.message().find(std::to_string(WindowBytes(model.layout, model.limits, kSizes))),
            absl::string_view::npos)
      << refused;
  PlanBody spread = replicated;  // in several plans
  spread.homes = PreferredHomes(replicated, model.layout);
  ASSERT_TRUE(ValidatePlan(spread, model.layout, model.limits).ok());
  EXPECT_TRUE(model.Check({&spread}).ok()) << model.Check({&spread});
}

// On up to three ranks no valid plan, however odd, is refused for its windows.
TEST(WindowSize, OnThreeRanksEveryPlanFits) {
  const ParameterLayout layout = OddLayout();
  constexpr int kSlots = 5;
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Rng rng(seed);
    const int ranks = static_cast<int>(rng.Between(1, 3));
    PlanLimits limits;
    limits.ranks = ranks;
    limits.slots_per_rank = kSlots;
    limits.home_elements_per_rank = layout.total_elements();
    limits.home_move_bytes_max = layout.total_elements() * kHomeBytesPerElement;
    const PlanBody plan = RandomPlan(rng, layout, ranks, kSlots, nullptr);
    const PlanBody next = RandomPlan(rng, layout, ranks, kSlots, &plan);
    for (int r = 0; r < ranks; ++r) {
      absl::Status status =
          CheckWindows(layout, kSizes, {&plan, &next}, Rank(r), WindowBytes(layout, limits, kSizes));
      EXPECT_TRUE(status.ok()) << status;
    }
  }
}

}  // namespace
}  // namespace ballast
