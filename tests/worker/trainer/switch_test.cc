// Switching plans in mid-run changes nothing that matters: no bit when slots and homes only move, rounding
// when experts are replicated, whatever the all-to-all.
#include <gtest/gtest.h>

#include <algorithm>

#include "base/check.h"
#include "base/rng.h"
#include "plan/diff.h"
#include "plan/home_moves.h"
#include "plan/validate.h"
#include "tests/worker/trainer/training_run.h"
#include "worker/backend/cpu/cpu_backend.h"

namespace ballast {
namespace {

constexpr int kRanks = 4;

// Deals every expert to a random rank with room and, with `extra`, the free slots to further random experts.
// An expert that stays on a rank keeps its index.
void DealSlots(Rng& rng, int experts, bool extra, LayerPlan& layer) {
  const std::vector<std::vector<Slot>> before = layer.slots;
  const int ranks = static_cast<int>(before.size());
  const int slots = static_cast<int>(before[0].size());
  std::vector<std::vector<ExpertId>> held(ranks);
  auto place = [&](ExpertId expert) {
    std::vector<int> free;
    for (int r = 0; r < ranks; ++r) {
      bool there = std::find(held[r].begin(), held[r].end(), expert) != held[r].end();
      if (static_cast<int>(held[r].size()) < slots && !there) free.push_back(r);
    }
    if (!free.empty()) held[free[rng.Below(free.size())]].push_back(expert);
  };
  for (int e = 0; e < experts; ++e) place(ExpertId(e));
  for (int i = 0; extra && i < 4; ++i) place(ExpertId(static_cast<int>(rng.Below(experts))));
  for (int r = 0; r < ranks; ++r) {
    layer.slots[r].assign(slots, Slot());
    for (ExpertId expert : held[r]) {
      auto old = std::find(before[r].begin(), before[r].end(), Slot(expert));
      if (old != before[r].end()) layer.slots[r][old - before[r].begin()] = expert;
    }
    for (ExpertId expert : held[r]) {
      auto& row = layer.slots[r];
      if (std::find(row.begin(), row.end(), Slot(expert)) == row.end()) {
        *std::find(row.begin(), row.end(), Slot()) = expert;
      }
    }
  }
}

struct PlanScript {
  std::vector<PlanPtr> plans;  // versions 2, 3, ..
  int with_home_moves = 0;
  int slot_writes = 0;
};

// `count` plans, each of which a rank would accept after the one before. Every third one moves homes as well:
// experts' to their slots, and dense blocks around.
PlanScript MakePlans(const JobConfig& job, int count, bool replicate, uint64_t seed) {
  const ParameterLayout layout = LayoutOf(job);
  const PlanLimits limits = LimitsFor(job, layout, kRanks);
  Rng rng(seed);
  PlanScript script;
  PlanPtr previous = FirstPlan(job, layout, kRanks);
  for (int i = 0; i < count; ++i) {
    auto plan = std::make_shared<Plan>(*previous);
    plan->stamp.version = PlanVersion(2 + i);
    plan->stamp.base_version = previous->stamp.version;
    plan->stamp.not_before_step = Step(4 + 4 * i);
    for (LayerPlan& layer : plan->body.layers) DealSlots(rng, layout.experts(), replicate, layer);
    if (i % 3 == 1) {
      std::vector<Rank> wanted = PreferredHomes(plan->body, layout);
      for (size_t b = 0; b < wanted.size(); ++b) {
        bool dense = !layout.parameter_of(BlockId(static_cast<int>(b))).expert.has_value();
        if (dense && rng.Chance(0.3)) wanted[b] = Rank(static_cast<int>(rng.Below(kRanks)));
      }
      plan->body.homes = BoundHomeMoves(previous->body.homes, wanted, layout, limits);
    }
    BALLAST_CHECK_OK(ValidatePlan(plan->body, layout, limits));
    BALLAST_CHECK_OK(ValidateTransition(previous->body, plan->body, layout, limits));
    PlanDiff diff = Diff(previous->body, plan->body, layout);
    script.with_home_moves += !diff.home_moves.empty();
    script.slot_writes += static_cast<int>(diff.slot_writes.size());
    BALLAST_CHECK(!diff.slot_writes.empty());
    script.plans.push_back(plan);
    previous = plan;
  }
  return script;
}

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
    PlanScript script = MakePlans(spec.job, 12, /*replicate=*/false, seed);
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
    PlanScript script = MakePlans(spec.job, 12, /*replicate=*/true, seed);
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
  PlanScript script = MakePlans(spec.job, 12, /*replicate=*/true, 5);
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
  for (PlanPtr plan : MakePlans(spec.job, 12, /*replicate=*/false, 9).plans) {
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
