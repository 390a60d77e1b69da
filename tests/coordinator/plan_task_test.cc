// Looks that are made aside: they see what a look in place would have seen, and end early when asked to.
#include "coordinator/plan_task.h"

#include <gtest/gtest.h>

#include <optional>

#include "tests/planner/loop.h"

namespace ballast {
namespace {

using testing::Loop;

constexpr int kRanks = 4;

JobConfig Job(const std::string& strategy) {
  JobConfig job = testing::SmallJob(2, 8, 3);
  job.planner.strategy = strategy;
  return job;
}

// A loop on two nodes that has seen loads, and tokens that choose a pair in each of two layers.
class Looked {
 public:
  explicit Looked(const std::string& strategy) : loop(Job(strategy), kRanks), sample(2, 8, 2) {
    loop.topology = Topology::FromNodeNames({"a", "a", "b", "b"});
    for (int s = 0; s < 30; ++s)
      loop.Run({{9, 4, 2, 1, 1, 1, 1, 1}, {1, 1, 1, 1, 1, 2, 4, 9}}, /*look=*/false);
    for (int64_t step = 1; step <= 80; ++step) {
      const auto a = static_cast<uint16_t>(step % 4);
      const auto b = static_cast<uint16_t>(a + 4);
      sample.Add(Step(step), Rank(0), 1, {a, b, b, a});
    }
  }
  PlanInput Input() const {
    PlanInput input = loop.Input();
    input.tokens = &sample;
    return input;
  }
  LookId Id() const { return {{Term(1), JobId("job"), Generation(1)}, PlanVersion(1), Step(30)}; }

  Loop loop;
  TokenSample sample;
};

TEST(PlanTask, SeesWhatALookInPlaceSees) {
  for (const char* strategy : {"greedy", "splitpack", "coactivation", "kmeans", "genetic"}) {
    std::optional<Looked> looked(strategy);
    const absl::StatusOr<PlanDecision> here = Decide(Planners(), looked->Input());
    const PlanTask task(looked->Id(), looked->Input());
    EXPECT_EQ(task.look(), looked->Id());
    looked.reset();  // the task owns what it looks at
    const absl::StatusOr<PlanDecision> aside = task.Run([] { return false; });
    ASSERT_TRUE(here.ok() && aside.ok()) << here.status() << aside.status();
    EXPECT_TRUE(here->body.has_value()) << strategy << ": " << here->why;
    EXPECT_EQ(here->body, aside->body) << strategy;
    EXPECT_EQ(here->why, aside->why) << strategy;
    EXPECT_EQ(here->explanation, aside->explanation) << strategy;
  }
}

TEST(PlanTask, IsAskedBetweenLayersWhetherAnybodyWaits) {
  const Looked looked("coactivation");
  const PlanTask task(looked.Id(), looked.Input());
  int asked = 0;
  ASSERT_TRUE(task.Run([&] { return ++asked > 100; })->body.has_value());
  EXPECT_EQ(asked, 2) << "once for each layer";
  asked = 0;
  const absl::StatusOr<PlanDecision> given_up = task.Run([&] { return ++asked == 2; });
  EXPECT_EQ(asked, 2);
  EXPECT_TRUE(given_up->explanation.layers.empty()) << "nothing of the first layer's is left";
}

}  // namespace
}  // namespace ballast
