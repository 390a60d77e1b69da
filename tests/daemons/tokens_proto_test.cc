// Samples of tokens leave the coordinator in answers of a bounded size.
#include <gtest/gtest.h>

#include <vector>

#include "coordinator/telemetry_proto.h"

namespace ballast {
namespace {

TEST(TokensProto, AnswersAreBoundedAndNothingIsLeftOut) {
  // Two sequences fill an answer.
  constexpr int kTokens = static_cast<int>(kTokensAnswerBytes / 2 / kBytesOfChoice);
  TokenSample sample(1, 8, 1);
  for (int64_t step = 1; step <= 3; ++step) {
    for (int rank : {0, 1})
      sample.Add(Step(step), Rank(rank), kTokens,
                 std::vector<uint16_t>(kTokens, static_cast<uint16_t>(step)));
  }
  std::pair<Step, Rank> after{Step(0), Rank(0)};
  for (int64_t step = 1; step <= 3; ++step) {
    const v1::GetTokensResponse answer = TokensToProto(sample, after);
    EXPECT_EQ(answer.layers(), 1);
    EXPECT_EQ(answer.top_k(), 1);
    EXPECT_EQ(answer.tokens(), kTokens);
    ASSERT_EQ(answer.sequences_size(), 2);
    for (int rank : {0, 1}) {
      EXPECT_EQ(answer.sequences(rank).step(), step);
      EXPECT_EQ(answer.sequences(rank).rank(), rank);
      ASSERT_EQ(answer.sequences(rank).choices_size(), kTokens);
      EXPECT_EQ(answer.sequences(rank).choices(kTokens - 1), static_cast<uint32_t>(step));
    }
    after = {Step(step), Rank(1)};
  }
  EXPECT_EQ(TokensToProto(sample, after).sequences_size(), 0);
  // One that is larger than an answer should be goes alone.
  TokenSample large(1, 8, 1);
  large.Add(Step(1), Rank(0), 3 * kTokens, std::vector<uint16_t>(3 * kTokens, 1));
  EXPECT_EQ(TokensToProto(large, {Step(0), Rank(0)}).sequences_size(), 1);
}

}  // namespace
}  // namespace ballast
