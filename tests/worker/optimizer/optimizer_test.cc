// The optimizer over random plans, against one reference that knows nothing of ranks but the order of
// summation.
#include "worker/optimizer/optimizer.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <cstring>

#include "tests/worker/backend/forwarding_backend.h"
#include "tests/worker/comm/communicator_fixture.h"
#include "tests/worker/optimizer/optimizer_fixture.h"
#include "tests/worker/optimizer/random_plan.h"
#include "worker/backend/cpu/cpu_backend.h"
#include "worker/comm/thread_communicator.h"
#include "worker/optimizer/learning_rate.h"
#include "worker/optimizer/memory.h"
#include "worker/optimizer/window_size.h"

namespace ballast {
namespace {

float Initial(BlockId block, int64_t element) {
  return static_cast<float>(Rng(HashSeed({77, block.index(), static_cast<uint64_t>(element)})).Normal());
}

// What `rank` finds as gradient in step s.
float Gradient(int rank, int64_t step, BlockId block, int64_t element) {
  return static_cast<float>(Rng(HashSeed({static_cast<uint64_t>(rank), static_cast<uint64_t>(step),
                                          block.index(), static_cast<uint64_t>(element)}))
                                .Normal());
}

bool Holds(const ParameterLayout& layout, const PlanBody& plan, int rank, BlockId block) {
  const Parameter& parameter = layout.parameter_of(block);
  if (!parameter.expert.has_value()) return true;
  return plan.layers[parameter.layer->index()].SlotIndex(Rank(rank), *parameter.expert).has_value();
}

// Compute weights of all blocks after each step: [step][block][element]; entry 0 is before the first.
std::vector<std::vector<std::vector<float>>> Reference(const ParameterLayout& layout,
                                                       const std::vector<PlanPtr>& plans, int steps) {
  auto backend = MakeCpuBackend(DType::kFloat32).value();
  auto stream = backend->NewStream();
  const int blocks = static_cast<int>(layout.blocks().size());
  const int ranks = static_cast<int>(plans[0]->body.speeds.size());
  std::vector<std::vector<float>> weights(blocks), m1(blocks), m2(blocks);
  for (int b = 0; b < blocks; ++b) {
    int64_t n = layout.blocks()[b].elements;
    for (int64_t i = 0; i < n; ++i) weights[b].push_back(Initial(BlockId(b), i));
    m1[b].assign(n, 0);
    m2[b].assign(n, 0);
  }
  std::vector<std::vector<std::vector<float>>> history = {weights};
  for (int s = 1; s <= steps; ++s) {
    std::vector<std::vector<float>> gradient(blocks);
    double squares_sum = 0;
    for (int b = 0; b < blocks; ++b) {
      const int64_t n = layout.blocks()[b].elements;
      bool first = true;
      for (int rank = 0; rank < ranks; ++rank) {
        if (!Holds(layout, plans[s]->body, rank, BlockId(b))) continue;
        for (int64_t i = 0; i < n; ++i) {
          float g = Gradient(rank, s, BlockId(b), i);
          if (first) gradient[b].push_back(g);
          if (!first) gradient[b][i] += g;
        }
        first = false;
      }
      double squares = 0;
      for (float g : gradient[b]) squares += static_cast<double>(g) * g;
      squares_sum += squares;
    }
    const double norm = std::sqrt(squares_sum);
    for (int b = 0; b < blocks; ++b) {
      AdamWStep adam;
      adam.learning_rate = LearningRate(Config(), steps, Step(s));
      adam.beta1 = Config().beta1;
      adam.beta2 = Config().beta2;
      adam.epsilon = Config().epsilon;
      adam.weight_decay = layout.parameter_of(BlockId(b)).decayed ? Config().weight_decay : 0;
      adam.gradient_scale = norm > Config().clip_norm ? Config().clip_norm / norm : 1;
      adam.step = s;
      std::vector<float> out(weights[b].size());
      backend->AdamW(*stream, adam, static_cast<int64_t>(out.size()), gradient[b].data(), weights[b].data(),
                     m1[b].data(), m2[b].data(), out.data());
      EXPECT_EQ(out, weights[b]);
    }
    history.push_back(weights);
  }
  return history;
}

int64_t MovedElements(const ParameterLayout& layout, const PlanBody& from, const PlanBody& to, Rank leaving) {
  int64_t elements = 0;
  for (size_t b = 0; b < from.homes.size(); ++b) {
    if (from.homes[b] == leaving && to.homes[b] != leaving) elements += layout.blocks()[b].elements;
  }
  return elements;
}

class OptimizerTest : public ::testing::TestWithParam<int> {};

// Random plans, each a change of the one before.
std::vector<PlanPtr> PlansInARow(Rng& rng, const ParameterLayout& layout, int ranks, int count) {
  std::vector<PlanPtr> plans;
  for (int i = 0; i < count; ++i) {
    auto plan = std::make_shared<Plan>();
    plan->body = RandomPlan(rng, layout, ranks, kSlotsPerRank, i == 0 ? nullptr : &plans.back()->body);
    plans.push_back(std::move(plan));
  }
  return plans;
}

// Another random plan in every step: slots and homes move all the time, vacated slots are filled with NaN,
// and every slot's weights are those of the reference bit for bit; memory is the formula's to the byte; a
// step is three collectives.
TEST_P(OptimizerTest, EverySlotHasTheReferenceWeightsUnderMovingPlans) {
  const int ranks = GetParam();
  constexpr int kSteps = 12;
  const ParameterLayout layout = OddLayout();
  Rng rng(HashSeed({2026, static_cast<uint64_t>(ranks)}));
  std::vector<PlanPtr> plans(1);  // [step]
  for (int s = 1; s <= kSteps + 1; ++s) {
    auto plan = std::make_shared<Plan>();
    plan->body = RandomPlan(rng, layout, ranks, kSlotsPerRank, s == 1 ? nullptr : &plans.back()->body);
    plans.push_back(std::move(plan));
  }
  plans[0] = plans[1];
  plans[6] = plans[5];  // one step without a switch
  const auto reference = Reference(layout, plans, kSteps);
  const size_t window_bytes = WindowsFor(layout, plans);

  ThreadCommunicatorGroup group(ranks);
  OnAllRanks(ranks, [&](Rank self) {
    auto backend = MakeCpuBackend(DType::kFloat32).value();
    auto stream = backend->NewStream();
    auto communicator = group.Take(self);
    OptimizerOptions options = OptionsFor(ranks, kSteps, window_bytes);
    options.poison_vacated = true;
    auto fill = [&](BlockId block, void* master) {
      for (int64_t i = 0; i < layout.block(block).elements; ++i) {
        static_cast<float*>(master)[i] = Initial(block, i);
      }
      return absl::OkStatus();
    };
    auto made = Optimizer::Make(options, layout, plans[1], fill, *backend, *stream, *communicator, After(60));
    ASSERT_TRUE(made.ok()) << made.status();
    Optimizer& optimizer = **made;
    auto expect_weights = [&](int step, const PlanBody& plan) {
      for (int b = 0; b < static_cast<int>(layout.blocks().size()); ++b) {
        const BlockId block(b);
        if (!Holds(layout, plan, self.value(), block)) continue;
        const float* weights = BlockIn(layout, plan, optimizer.parameters(), self, block, false);
        for (int64_t i = 0; i < layout.block(block).elements; ++i) {
          ASSERT_EQ(weights[i], reference[step][b][i])
              << "step " << step << " block " << b << " element " << i;
        }
      }
    };
    expect_weights(0, plans[1]->body);
    const int64_t operations_first = communicator->stats().operations;
    EXPECT_EQ(operations_first, 1);
    const MemoryShape shape{.sizes = kSizes, .slots_per_rank = kSlotsPerRank, .window_bytes = window_bytes};
    for (int s = 1; s <= kSteps; ++s) {
      ASSERT_TRUE(optimizer.BeginStep(plans[s], plans[s + 1]).ok());
      ASSERT_TRUE(optimizer.BeginMicrobatch(0));
      for (int b = 0; b < static_cast<int>(layout.blocks().size()); ++b) {
        const BlockId block(b);
        if (!Holds(layout, plans[s]->body, self.value(), block)) continue;
        float* gradient = BlockIn(layout, plans[s]->body, optimizer.parameters(), self, block, true);
        for (int64_t i = 0; i < layout.block(block).elements; ++i) {
          // The step's first microbatch writes those of experts, and adds to the others.
          if (!layout.parameters()[layout.block(block).parameter].expert.has_value()) {
            ASSERT_EQ(gradient[i], 0) << "a new step begins with dense gradients of zero";
          }
          gradient[i] = Gradient(self.value(), s, block, i);
        }
      }
      optimizer.EndMicrobatch(0);
      ASSERT_TRUE(optimizer.Reduce(After(60)).ok());
      StepRow row;
      row.header.step = Step(s);
      row.block_squares = optimizer.BlockSquares().value();
      EXPECT_FALSE(optimizer.NonFinite(row.block_squares).has_value());
      absl::StatusOr<StepTable> table = optimizer.ExchangeTable(row, After(60));
      ASSERT_TRUE(table.ok()) << table.status();
      for (const StepHeader& header : table->headers) EXPECT_EQ(header.step, Step(s));
      optimizer.Update(Step(s), *table);
      ASSERT_TRUE(optimizer.Refresh(Step(s), After(60)).ok());
      expect_weights(s, plans[s + 1]->body);

      // States that moved away in this refresh and the one before are still kept.
      int64_t kept = MovedElements(layout, plans[s]->body, plans[s + 1]->body, self) +
                     (s > 1 ? MovedElements(layout, plans[s - 1]->body, plans[s]->body, self) : 0);
      const MemoryUse expected = ExpectedMemory(layout, shape, plans[s + 1]->body, self);
      EXPECT_EQ(backend->allocated_bytes(), expected.total() + kept * 3 * sizeof(float)) << "step " << s;
    }
    EXPECT_EQ(communicator->stats().operations - operations_first, 3 * kSteps);
  });
}

// Three random plans, two steps each: the largest amount that is ever allocated is the formula's to the byte.
TEST_P(OptimizerTest, TheMostThatIsHeldAtOneTimeDuringSwitchesIsTheFormulas) {
  class Watched final : public ForwardingBackend {
   public:
    using ForwardingBackend::ForwardingBackend;
    absl::StatusOr<Buffer> Allocate(size_t bytes, const std::string& label) override {
      absl::StatusOr<Buffer> buffer = to_.Allocate(bytes, label);
      most_ = std::max(most_, to_.allocated_bytes());
      return buffer;
    }
    size_t most() const { return most_; }

   private:
    size_t most_ = 0;
  };
  const int ranks = GetParam();
  const ParameterLayout layout = OddLayout();
  std::atomic<int> in_between = 0;
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Rng rng(HashSeed({seed, static_cast<uint64_t>(ranks)}));
    const std::vector<PlanPtr> plans = PlansInARow(rng, layout, ranks, 3);
    std::vector<const PlanBody*> bodies;
    for (const PlanPtr& plan : plans) bodies.push_back(&plan->body);
    const MemoryShape shape{
        .sizes = kSizes, .slots_per_rank = kSlotsPerRank, .window_bytes = WindowsFor(layout, plans)};
    ThreadCommunicatorGroup group(ranks);
    OnAllRanks(ranks, [&](Rank self) {
      auto memory = MakeCpuBackend(DType::kFloat32).value();
      Watched backend(*memory);
      auto stream = backend.NewStream();
      auto communicator = group.Take(self);
      const OptimizerOptions options = OptionsFor(ranks, 6, shape.window_bytes);
      auto made = Optimizer::Make(
          options, layout, plans[0], [](BlockId, void*) { return absl::OkStatus(); }, backend, *stream,
          *communicator, After(60));
      ASSERT_TRUE(made.ok()) << made.status();
      Optimizer& optimizer = **made;
      for (int s = 1; s <= 6; ++s) {
        ASSERT_TRUE(optimizer.BeginStep(plans[(s - 1) / 2], plans[std::min(s / 2, 2)]).ok());
        ASSERT_TRUE(optimizer.Reduce(After(60)).ok());
        StepRow row;
        row.header.step = Step(s);
        row.block_squares = optimizer.BlockSquares().value();
        absl::StatusOr<StepTable> table = optimizer.ExchangeTable(row, After(60));
        ASSERT_TRUE(table.ok()) << table.status();
        optimizer.Update(Step(s), *table);
        ASSERT_TRUE(optimizer.Refresh(Step(s), After(60)).ok());
      }
      const size_t peak = PeakMemory(layout, shape, bodies, self).total();
      EXPECT_EQ(backend.most(), peak) << "rank " << self;
      size_t steady = 0;
      for (const PlanBody* body : bodies) {
        steady = std::max(steady, ExpectedMemory(layout, shape, *body, self).total());
      }
      if (steady < peak) ++in_between;
    });
  }
  // Else this test would say nothing about the steps between two plans.
  EXPECT_EQ(in_between > 0, ranks > 1);
}

// A generation may end between any two operations of a step.
TEST_P(OptimizerTest, WhatIsRetainedIsWithinTheFormula) {
  const int ranks = GetParam();
  const ParameterLayout layout = OddLayout();
  std::atomic<int> exact = 0;
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Rng rng(HashSeed({seed, static_cast<uint64_t>(ranks)}));
    const std::vector<PlanPtr> plans = PlansInARow(rng, layout, ranks, 2);
    const std::vector<const PlanBody*> bodies = {&plans[0]->body, &plans[1]->body};
    std::vector<std::atomic<size_t>> most(static_cast<size_t>(ranks));
    // Ends after so many of the operations table, update, refresh of the steps 1 to 5, 3 being the first
    // under the second plan.
    for (int end = 1; end <= 15; ++end) {
      ThreadCommunicatorGroup group(ranks);
      OnAllRanks(ranks, [&](Rank self) {
        auto backend = MakeCpuBackend(DType::kFloat32).value();
        auto stream = backend->NewStream();
        auto communicator = group.Take(self);
        const OptimizerOptions options = OptionsFor(ranks, 5, WindowsFor(layout, plans));
        auto made = Optimizer::Make(
            options, layout, plans[0], [](BlockId, void*) { return absl::OkStatus(); }, *backend, *stream,
            *communicator, After(60));
        ASSERT_TRUE(made.ok()) << made.status();
        Optimizer& optimizer = **made;
        for (int s = 1, left = end; left > 0; ++s) {
          ASSERT_TRUE(optimizer.BeginStep(plans[s >= 3], plans[s + 1 >= 3]).ok());
          ASSERT_TRUE(optimizer.Reduce(After(60)).ok());
          StepRow row;
          row.header.step = Step(s);
          row.block_squares = optimizer.BlockSquares().value();
          absl::StatusOr<StepTable> table = optimizer.ExchangeTable(row, After(60));
          ASSERT_TRUE(table.ok()) << table.status();
          if (--left == 0) break;
          optimizer.Update(Step(s), *table);
          if (--left == 0) break;
          ASSERT_TRUE(optimizer.Refresh(Step(s), After(60)).ok());
          --left;
        }
        absl::StatusOr<RetainedHomes> retained = optimizer.Release();
        ASSERT_TRUE(retained.ok()) << retained.status();
        size_t bytes = 0;
        for (const auto& [block, state] : retained->states) bytes += state.size();
        for (const auto& [block, gradient] : retained->gradients) bytes += gradient.size();
        EXPECT_LE(bytes, RetainedBytes(layout, kSizes, bodies, self)) << "rank " << self << " end " << end;
        most[self.index()] = std::max<size_t>(most[self.index()], bytes);
      });
    }
    for (int r = 0; r < ranks; ++r)
      exact += most[static_cast<size_t>(r)] == RetainedBytes(layout, kSizes, bodies, Rank(r)) ? 1 : 0;
  }
  // Every rank of these plans reaches it, so the formula is not too large either.
  EXPECT_EQ(exact, 5 * ranks);
}

INSTANTIATE_TEST_SUITE_P(Ranks, OptimizerTest, ::testing::Values(1, 2, 3, 5));

}  // namespace
}  // namespace ballast
