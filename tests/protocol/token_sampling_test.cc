#include "protocol/token_sampling.h"

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <set>
#include <string>

namespace ballast {
namespace {

int64_t BytesOf(const TokenSampling& sampling, int layers, int top_k) {
  return int64_t{sampling.tokens} * layers * top_k * kBytesOfChoice;
}

TEST(TokenSampling, SmallJobsTellWholeSequencesOfUpToEightRanks) {
  EXPECT_EQ(SamplingFor(2, 2, 64, 4), (TokenSampling{1, 4, 64}));
  EXPECT_EQ(SamplingFor(2, 2, 64, 100), (TokenSampling{1, 8, 64}));
  EXPECT_EQ(SamplingFor(2, 2, 4096, 1), (TokenSampling{1, 1, 256}));
}

TEST(TokenSampling, LargeJobsTellLessOften) {
  EXPECT_EQ(SamplingFor(60, 8, 4096, 64), (TokenSampling{4, 1, 256}));
  EXPECT_EQ(SamplingFor(60, 4, 4096, 64), (TokenSampling{2, 1, 256}));
  EXPECT_EQ(SamplingFor(32, 128, 4096, 64), (TokenSampling{4, 1, 32}));
}

TEST(TokenSampling, NoShapeOfAJobGoesBeyondTheBounds) {
  for (int layers : {1, 2, 7, 60, 128, 1024}) {
    for (int top_k : {1, 2, 8, 64, 128, 4096}) {
      if (layers * top_k > 1 << 17) continue;
      for (int64_t length : {1, 100, 1 << 20}) {
        for (int ranks : {1, 3, 8, 1000}) {
          const TokenSampling sampling = SamplingFor(layers, top_k, length, ranks);
          ASSERT_TRUE(CheckSampling(sampling).ok()) << layers << " " << top_k << " " << length;
          const int64_t bytes = BytesOf(sampling, layers, top_k);
          EXPECT_LE(bytes * sampling.sequences, kSampleBytesPerStep * sampling.every);
          EXPECT_LE(sampling.tokens, length);
          EXPECT_LE(bytes, kSampledChoicesMax * kBytesOfChoice);
          EXPECT_LE(int64_t{sampling.tokens} * top_k, kLayerChoicesMax);
        }
      }
    }
  }
}

TEST(TokenSampling, RanksTakeTurns) {
  for (int ranks : {1, 4, 7, 8, 30}) {
    for (int64_t every : {1, 3}) {
      const TokenSampling sampling{every, std::min(ranks, 5), 16};
      std::map<int, int64_t> told;
      for (int64_t step = 1; step <= 200; ++step) {
        int in_step = 0;
        for (int rank = 0; rank < ranks; ++rank) {
          const std::optional<int64_t> turn = SampledTurn(sampling, Step(step), Rank(rank), ranks);
          if (!turn) continue;
          ++in_step;
          EXPECT_EQ(*turn, told[rank]++) << "rank " << rank << " of " << ranks << " in step " << step;
        }
        EXPECT_EQ(in_step, step % every == 0 ? sampling.sequences : 0);
      }
      for (int rank = 0; rank < ranks; ++rank) EXPECT_LE(std::abs(told[rank] - told[0]), 1);
    }
  }
  EXPECT_EQ(SampledTurn(TokenSampling(), Step(4), Rank(0), 4), std::nullopt) << "it is off";
}

TEST(TokenSampling, NamesWhatNoRuleHas) {
  EXPECT_TRUE(CheckSampling(TokenSampling()).ok());
  EXPECT_EQ(CheckSampling({0, 4, 16}).message(), "sampling.every: found 0, allowed at least 1, or all 0");
  EXPECT_EQ(CheckSampling({1, 9, 16}).message(), "sampling.sequences: found 9, allowed 1..8");
  EXPECT_EQ(CheckSampling({1, 8, 257}).message(), "sampling.tokens: found 257, allowed 1..256");
}

TEST(TokenReport, WhatCannotBeIsNamed) {
  const TokenSampling sampling{2, 1, 2};
  const TokenReport good{JobId("job"), Generation(1), Rank(1), Step(4), 2, {0, 3, 2, 1, 3, 0, 1, 2}};
  const auto said = [&](const std::function<void(TokenReport&)>& edit) {
    TokenReport report = good;
    edit(report);
    return std::string(CheckTokenReport(report, sampling, 3, 2, 2, 4).message());
  };
  EXPECT_EQ(said([](TokenReport&) {}), "");
  EXPECT_EQ(said([](TokenReport& r) { r.rank = Rank(3); }), "rank: found 3, allowed 0..2");
  EXPECT_EQ(said([](TokenReport& r) { r.step = Step(3); }),
            "step: found 3, allowed one in which this rank's tokens are sampled");
  EXPECT_EQ(said([](TokenReport& r) { r.rank = Rank(2); }),
            "step: found 4, allowed one in which this rank's tokens are sampled");
  EXPECT_EQ(said([](TokenReport& r) { r.tokens = 3; }), "tokens: found 3, allowed 2");
  EXPECT_EQ(said([](TokenReport& r) { r.choices.resize(6); }),
            "choices: found 6, allowed 8 (2 layers, 2 tokens, 2)");
  EXPECT_EQ(said([](TokenReport& r) { r.choices[5] = 4; }), "choices[5]: found 4, allowed 0..3");
  EXPECT_EQ(said([](TokenReport& r) { r.choices[3] = 2; }),
            "choices[3]: found 2 twice in a token, allowed once");
}

}  // namespace
}  // namespace ballast
