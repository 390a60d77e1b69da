#include "coordinator/planner/explanation.h"

#include <cmath>
#include <numeric>
#include <string>

#include "gtest/gtest.h"
#include "tests/planner/loop.h"

namespace ballast {
namespace {

using testing::Draw;
using testing::Loop;

TEST(Explanation, TheChosenAndThePresentOneAreKeptThenTheCheapest) {
  std::vector<LayerCandidate> candidates;
  for (int i = 0; i < 20; ++i) candidates.push_back({"c" + std::to_string(i), 1, 20.0 - i, 0, false});
  candidates[2].chosen = true;
  candidates[5].name = kAsItIs;
  TrimCandidates(candidates);
  ASSERT_EQ(candidates.size(), kCandidatesMax);
  EXPECT_EQ(candidates[0].name, "c2");
  EXPECT_EQ(candidates[1].name, kAsItIs);
  EXPECT_EQ(candidates[2].name, "c19");
  EXPECT_EQ(candidates[7].name, "c14");
}

// What is said agrees with what is done, for every strategy that the live planner knows.
class Explains : public ::testing::TestWithParam<std::string> {};

TEST_P(Explains, EveryLookByWhatItDid) {
  int changed = 0, stayed = 0;
  for (uint64_t seed = 1; seed <= 8; ++seed) {
    SCOPED_TRACE(seed);
    Rng rng(seed);
    JobConfig job = testing::SmallJob(2, 8, 3);
    job.planner.strategy = GetParam();
    job.planner.warmup_steps = 1;
    Loop loop(job, 4);
    std::vector<double> shares;
    for (int e = 0; e < 8; ++e) shares.push_back(std::exp(rng.Normal()));
    for (int i = 0; i < 6; ++i) loop.Run({Draw(rng, shares, 4096), Draw(rng, shares, 4096)}, false);
    const auto decision = Decide(Planners(), loop.Input());
    ASSERT_TRUE(decision.ok());
    const Explanation& explanation = decision->explanation;
    EXPECT_EQ(explanation.strategy, GetParam());
    EXPECT_EQ(explanation.step, Step(6));
    EXPECT_EQ(explanation.first_sample, Step(1));
    EXPECT_EQ(explanation.last_sample, Step(6));
    EXPECT_EQ(explanation.accepted, decision->body.has_value());
    if (!decision->homes) {
      EXPECT_EQ(explanation.verdict, decision->why);
    }
    ASSERT_EQ(explanation.layers.size(), 2u);
    for (size_t l = 0; l < 2; ++l) {
      const LayerExplanation& layer = explanation.layers[l];
      ASSERT_EQ(layer.load.size(), 8u);
      EXPECT_GE(layer.bound, 1 - 1e-9);
      EXPECT_GE(layer.imbalance_before, layer.bound - 1e-6);
      EXPECT_GE(layer.imbalance_after, layer.bound - 1e-6);
      EXPECT_FALSE(layer.why.empty());
      ASSERT_FALSE(layer.candidates.empty());
      EXPECT_LE(layer.candidates.size(), kCandidatesMax);
      int chosen = 0, as_it_is = 0;
      for (const LayerCandidate& candidate : layer.candidates) {
        chosen += candidate.chosen;
        as_it_is += candidate.name == kAsItIs;
        EXPECT_GE(candidate.imbalance, layer.bound - 1e-6) << candidate.name;
        if (candidate.name == kAsItIs) {
          EXPECT_NEAR(candidate.imbalance, layer.imbalance_before, 2e-3);
        }
        if (candidate.chosen && GetParam() != "eplb") {  // which does not split in the best way
          EXPECT_NEAR(candidate.imbalance, layer.imbalance_after, 2e-3) << candidate.name;
        }
      }
      EXPECT_EQ(chosen, 1);
      EXPECT_EQ(as_it_is, 1);
      const bool stays = layer.candidates[0].name == kAsItIs;
      (stays ? stayed : changed) += 1;
      if (decision->body && !decision->homes && stays) {
        EXPECT_EQ(decision->body->layers[l].slots, loop.current.layers[l].slots);
      }
    }
  }
  EXPECT_GT(changed, 0);
  RecordProperty("stayed", stayed);
}

INSTANTIATE_TEST_SUITE_P(Strategies, Explains, ::testing::Values("greedy", "auto", "eplb", "flow_repair"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace ballast
