#include "coordinator/planner/token_sample.h"

#include <gtest/gtest.h>

#include "base/rng.h"

namespace ballast {
namespace {

// Two layers of four experts, two tokens that choose two.
std::vector<uint16_t> Choices(uint16_t a, uint16_t b) { return {a, b, 0, 1, 2, 3, b, a}; }

TEST(TokenSample, KeepsTheNewestWithinItsBound) {
  TokenSample sample(2, 4, 2);
  EXPECT_FALSE(sample.enough());
  for (int64_t step = 1; step <= 400; ++step) EXPECT_TRUE(sample.Add(Step(step), Rank(0), 2, Choices(0, 1)));
  ASSERT_EQ(sample.sequences().size(), TokenSample::kSequencesMax);
  EXPECT_EQ(sample.sequences().front()->step, Step(145));
  EXPECT_FALSE(sample.Add(Step(144), Rank(3), 2, Choices(0, 1))) << "older than all that are kept";
  EXPECT_FALSE(sample.Add(Step(300), Rank(0), 2, Choices(2, 3))) << "told before";
  EXPECT_TRUE(sample.Add(Step(300), Rank(1), 2, Choices(2, 3)));
  EXPECT_EQ(sample.sequences().size(), TokenSample::kSequencesMax);
  EXPECT_EQ(sample.sequences().front()->step, Step(146));
  EXPECT_TRUE(sample.Add(Step(401), Rank(0), 1, {0, 1, 2, 3}));
  EXPECT_EQ(sample.sequences().size(), 1u) << "sequences of another length begin it anew";
  sample.Reset();
  EXPECT_TRUE(sample.sequences().empty());
}

TEST(TokenSample, CopiesAreSnapshots) {
  TokenSample sample(2, 4, 2);
  sample.Add(Step(1), Rank(0), 2, Choices(0, 1));
  const TokenSample copy = sample;
  sample.Add(Step(2), Rank(0), 2, Choices(0, 1));
  sample.Reset();
  EXPECT_EQ(copy.sequences().size(), 1u);
}

TEST(TokenSample, HalvesArePairsOfOtherSequences) {
  TokenSample sample(2, 4, 2);
  sample.Add(Step(1), Rank(0), 2, Choices(0, 1));
  sample.Add(Step(1), Rank(1), 2, Choices(2, 3));
  sample.Add(Step(2), Rank(0), 2, Choices(0, 2));
  const CoactivationMatrix planned = sample.Together(0, TokenSample::Half::kPlanned);
  EXPECT_EQ(planned.at(0, 1), 3) << "twice by the second token, once by the first";
  EXPECT_EQ(planned.at(0, 2), 1);
  EXPECT_EQ(planned.at(2, 3), 0);
  EXPECT_EQ(planned.at(0, 0), 4) << "the diagonal has each expert's tokens";
  const CoactivationMatrix judged = sample.Together(0, TokenSample::Half::kJudged);
  EXPECT_EQ(judged.at(2, 3), 1);
  EXPECT_EQ(judged.at(0, 1), 1);
  EXPECT_EQ(sample.Together(1, TokenSample::Half::kJudged).at(3, 2), 2);
  // Of four pairs of the planned sequences, with experts 0 and 1 on one node in layer 0 and 2 and 3 in
  // layer 1.
  const std::vector<std::vector<int>> labels = {{0, 0, 1, 2}, {0, 1, 2, 2}};
  EXPECT_EQ(sample.SharesOfPairs(labels, TokenSample::Half::kPlanned), (std::vector<double>{0.75, 0.5}));
  EXPECT_EQ(sample.SharesOfPairs(labels, TokenSample::Half::kJudged), (std::vector<double>{0.75}));
}

TEST(TokenSample, OneExpertATokenMakesNoPairs) {
  TokenSample sample(1, 4, 1);
  for (int64_t step = 1; step <= 4; ++step) sample.Add(Step(step), Rank(0), 2, {0, 3});
  EXPECT_TRUE(sample.SharesOfPairs({{0, 0, 0, 0}}, TokenSample::Half::kJudged).empty());
}

}  // namespace
}  // namespace ballast
