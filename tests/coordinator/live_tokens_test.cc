// Strategies that need a sample of tokens, through the real core: tokens whose experts come from planted
// clusters that lie across both nodes at first.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "base/rng.h"
#include "coordinator/planner/layer/affinity.h"
#include "coordinator/planner/register.h"
#include "plan/validate.h"
#include "tests/coordinator/live_job.h"
#include "tests/coordinator/small_job.h"

namespace ballast {
namespace {

constexpr int kExperts = 8;
constexpr int kLayers = 2;
constexpr int kRanks = 4;

std::shared_ptr<JobConfig> Job(const std::string& strategy) {
  std::shared_ptr<JobConfig> job = SmallJob("job", kRanks);
  job->model.layers = kLayers;
  job->model.moe.experts = kExperts;
  job->model.moe.top_k = 2;
  job->data.sequence_length = 16;
  job->training.steps = 400;
  job->placement.slots_per_rank = 3;
  job->planner.strategy = strategy;
  job->planner.plan_every_steps = 10;
  job->planner.warmup_steps = 5;
  job->planner.horizon_steps = 20;
  return job;
}

// Layer 0 has even and odd experts as clusters, layer 1 those that are equal modulo 4 when halved.
int ClusterOf(int layer, int expert) { return layer == 0 ? expert % 2 : expert / 2 % 2; }

// A token stays in its cluster with this likelihood.
std::vector<uint16_t> Draw(Rng& rng, int tokens, double likely) {
  std::vector<uint16_t> choices;
  for (int l = 0; l < kLayers; ++l) {
    for (int t = 0; t < tokens; ++t) {
      const auto first = static_cast<int>(rng.Below(kExperts));
      const bool same = rng.Chance(likely);
      int second = first;
      while (second == first || (likely > 0 && (ClusterOf(l, second) == ClusterOf(l, first)) != same))
        second = static_cast<int>(rng.Below(kExperts));
      choices.push_back(static_cast<uint16_t>(first));
      choices.push_back(static_cast<uint16_t>(second));
    }
  }
  return choices;
}

class Cluster {
 public:
  Cluster(const std::string& strategy, uint64_t seed, double likely, int ranks_per_node = 2)
      : config(Job(strategy)), job(config, ranks_per_node), rng_(seed) {
    job.choices = [this, likely](int64_t, int, int tokens) { return Draw(rng_, tokens, likely); };
  }

  void Run(int steps) {
    for (int s = 0; s < steps; ++s) {
      std::vector<std::vector<int64_t>> loads(kLayers);
      for (std::vector<int64_t>& layer : loads) {
        for (int e = 0; e < kExperts; ++e) layer.push_back(rng_.Between(950, 1050));
      }
      job.Run(loads);
    }
  }
  PlanRecord active() const { return *job.core().PlanOf(job.name(), PlanVersion()); }
  // Share of the clusters' pairs of experts that lie on one node; of 1.
  double Inside() const {
    double inside = 0, all = 0;
    for (int l = 0; l < kLayers; ++l) {
      const auto hosts = active().plan->body.layers[static_cast<size_t>(l)].Hosts(kExperts);
      for (int a = 0; a < kExperts; ++a) {
        for (int b = 0; b < a; ++b) {
          if (ClusterOf(l, a) != ClusterOf(l, b)) continue;
          ++all;
          inside +=
              hosts[static_cast<size_t>(a)][0].value() / 2 == hosts[static_cast<size_t>(b)][0].value() / 2;
        }
      }
    }
    return inside / all;
  }
  std::string Verdict() const {
    const PlanAccount account = *job.core().Explain(job.name(), PlanVersion());
    return account.last_look ? account.last_look->verdict : "";
  }
  int PlannedPlans() const {
    const auto plans = *job.core().Plans(job.name());
    return static_cast<int>(std::count_if(plans.begin(), plans.end(), [](const PlanRecord& plan) {
      return plan.origin == PlanOrigin::kPlanner && plan.slot_writes > 0;
    }));
  }

  const std::shared_ptr<JobConfig> config;
  LiveJob job;

 private:
  Rng rng_;
};

TEST(LiveTokens, PlantedClustersComeToLieInsideNodes) {
  for (const char* strategy : {"coactivation", "kmeans", "genetic"}) {
    for (uint64_t seed = 1; seed <= 5; ++seed) {
      SCOPED_TRACE(testing::Message() << strategy << ", seed " << seed);
      Cluster cluster(strategy, seed, 0.9);
      const double before = cluster.Inside();
      EXPECT_LT(before, 0.5);
      cluster.Run(10);
      EXPECT_EQ(cluster.Verdict(), "waits for a sample of tokens: 40 of 64 sequences");
      EXPECT_EQ(cluster.job.looks_aside(), 0) << "a look that only waits is over at once";
      cluster.Run(50);
      EXPECT_EQ(cluster.Inside(), 1) << cluster.active().plan->body.reason;
      EXPECT_GE(cluster.job.looks_aside(), 1);
      const PlanRecord record = cluster.active();
      const ParameterLayout layout =
          *ParameterLayout::Make(cluster.config->model, cluster.config->placement.block_elements);
      EXPECT_TRUE(ValidatePlan(record.plan->body, layout, LimitsFor(*cluster.config, layout, kRanks)).ok());
      const int plans = cluster.PlannedPlans();
      cluster.Run(100);
      EXPECT_EQ(cluster.PlannedPlans(), plans)
          << "what is together stays: " << cluster.active().plan->body.reason;
    }
  }
}

TEST(LiveTokens, ChanceIsNoReasonToMove) {
  for (const char* strategy : {"coactivation", "kmeans", "genetic"}) {
    for (uint64_t seed = 1; seed <= 5; ++seed) {
      Cluster cluster(strategy, seed, 0);
      cluster.Run(200);
      EXPECT_EQ(cluster.PlannedPlans(), 0)
          << strategy << ", seed " << seed << ": " << cluster.active().plan->body.reason;
      EXPECT_GE(cluster.job.looks_aside(), 10) << cluster.Verdict();
    }
  }
}

TEST(LiveTokens, OnlyStrategiesThatNeedItHaveTokensSampledAndOnlyOnSeveralNodes) {
  for (const std::string& strategy : Planners().Names()) {
    const bool needed = (*Planners().Find(strategy))->traits().needs_tokens;
    EXPECT_EQ(Cluster(strategy, 1, 0.9).job.sampling(),
              needed ? SamplingFor(kLayers, 2, 16, kRanks) : TokenSampling())
        << strategy;
    EXPECT_FALSE(Cluster(strategy, 1, 0.9, 4).job.sampling().on()) << strategy;
  }
}

TEST(LiveTokens, OnOneNodeExpertsStayAndPeopleAreTold) {
  Cluster cluster("coactivation", 1, 0.9, 4);
  cluster.Run(60);
  EXPECT_EQ(cluster.PlannedPlans(), 0);
  EXPECT_EQ(cluster.Verdict(),
            "all ranks are on one node: no expert can come nearer to those that are chosen beside it");
}

TEST(LiveTokens, StepsGoOnWhileAPlanIsMade) {
  Cluster cluster("genetic", 1, 0.9);
  cluster.job.plan_steps = 25;
  while (!cluster.job.planning()) cluster.Run(1);
  const Step asked = cluster.job.core().Job(cluster.job.name())->record.step;
  cluster.Run(24);
  EXPECT_EQ(cluster.job.core().Job(cluster.job.name())->record.step, asked.Plus(24));
  EXPECT_TRUE(cluster.job.planning());
  EXPECT_EQ(cluster.job.looks_aside(), 1) << "no other look is made meanwhile";
  EXPECT_EQ(cluster.PlannedPlans(), 0);
  cluster.Run(4);
  EXPECT_EQ(cluster.PlannedPlans(), 1);
  EXPECT_EQ(cluster.Inside(), 1);
}

TEST(LiveTokens, ASlowRankDoesNotWaitForAPlanThatKnowsNothingOfIt) {
  Cluster cluster("kmeans", 1, 0.9);
  bool slow = false;
  cluster.job.expert_seconds = [&](int rank, int64_t rows) {
    return 1e-5 * static_cast<double>(rows) / (slow && rank == 2 ? 0.6 : 1);
  };
  cluster.Run(100);
  cluster.job.plan_steps = 60;
  while (!cluster.job.planning()) cluster.Run(1);
  const int64_t asked = cluster.job.looks_aside();
  slow = true;
  cluster.Run(10);
  EXPECT_LT(cluster.job.core().Telemetry(cluster.job.name())->ranks[2].speed, 0.7);
  EXPECT_EQ(cluster.job.looks_given_up(), 1);
  EXPECT_EQ(cluster.job.looks_aside(), asked + 1) << "the next look does not wait for the one before";
  EXPECT_TRUE(cluster.job.planning());
}

TEST(LiveTokens, APlanForAnotherPlacementThanTheActiveOneIsDropped) {
  Cluster cluster("coactivation", 1, 0.9);
  cluster.job.plan_steps = 8;
  while (!cluster.job.planning()) cluster.Run(1);
  cluster.Run(1);
  cluster.job.PushExchange();
  cluster.Run(4);
  ASSERT_EQ(cluster.active().origin, PlanOrigin::kPushed);
  cluster.Run(5);
  EXPECT_FALSE(cluster.job.planning());
  EXPECT_EQ(cluster.PlannedPlans(), 0) << "it was made for the plan before";
  cluster.Run(40);
  EXPECT_EQ(cluster.PlannedPlans(), 1) << "the next look is for this one";
}

TEST(LiveTokens, ReportsThatCannotBeAreCounted) {
  Cluster cluster("coactivation", 1, 0.9);
  cluster.Run(2);
  EXPECT_EQ(cluster.job.core().Telemetry(cluster.job.name())->rejected, 0);
  cluster.job.choices = [](int64_t, int, int tokens) {
    return std::vector<uint16_t>(static_cast<size_t>(kLayers * tokens * 2), 3);
  };
  cluster.Run(3);
  EXPECT_EQ(cluster.job.core().Telemetry(cluster.job.name())->rejected, 3 * kRanks);
}

}  // namespace
}  // namespace ballast
