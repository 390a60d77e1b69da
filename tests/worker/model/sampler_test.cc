#include "worker/model/sampler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

namespace ballast {
namespace {

using testing::HasSubstr;

DataConfig Drifting() {
  return {.sources = {{"english", "e"}, {"code", "c"}},
          .mixture = {{Step(1), {9, 1}}, {Step(100), {1, 9}}},
          .sequence_length = 16,
          .held_out_fraction = 0.1};
}

TEST(Sampler, IsAFunctionOfSeedStepAndIndex) {
  const Sampler sampler = Sampler::Make(Drifting(), 7, {1000, 2000}).value();
  const Sampler again = Sampler::Make(Drifting(), 7, {1000, 2000}).value();
  const Sampler other = Sampler::Make(Drifting(), 8, {1000, 2000}).value();
  int same_as_other = 0, same_as_next = 0;
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(sampler.Train(Step(3), i), again.Train(Step(3), i));
    same_as_other += sampler.Train(Step(3), i) == other.Train(Step(3), i);
    same_as_next += sampler.Train(Step(3), i) == sampler.Train(Step(4), i);
  }
  EXPECT_LT(same_as_other, 5);
  EXPECT_LT(same_as_next, 5);
  // A change here changes every loss curve ever recorded.
  EXPECT_EQ(sampler.Train(Step(1), 0), (Sample{0, 641}));
}

TEST(Sampler, FollowsTheMixtureOfTheStep) {
  const Sampler sampler = Sampler::Make(Drifting(), 7, {1000, 2000}).value();
  for (auto [step, share] : {std::pair{1, 0.1}, {99, 0.1}, {100, 0.9}, {500, 0.9}}) {
    double code = 0;
    for (int i = 0; i < 4000; ++i) code += sampler.Train(Step(step), i).source == 1;
    // Five standard deviations.
    EXPECT_NEAR(code / 4000, share, 5 * std::sqrt(0.09 / 4000)) << "step " << step;
  }
}

TEST(Sampler, ASourceOfNoWeightIsNeverDrawn) {
  DataConfig data = Drifting();
  data.mixture = {{Step(1), {1, 0}}, {Step(2), {0, 1}}};
  const Sampler sampler = Sampler::Make(data, 7, {1000, 2000}).value();
  for (int i = 0; i < 1000; ++i) {
    EXPECT_EQ(sampler.Train(Step(1), i).source, 0);
    EXPECT_EQ(sampler.Train(Step(2), i).source, 1);
  }
}

TEST(Sampler, TrainAndHeldOutPartsDoNotTouch) {
  const Sampler sampler = Sampler::Make(Drifting(), 7, {1000, 2000}).value();
  EXPECT_EQ(sampler.train_tokens(0), 900);
  EXPECT_EQ(sampler.train_tokens(1), 1800);
  int64_t first[2] = {1 << 20, 1 << 20}, last[2] = {0, 0};
  for (int i = 0; i < 20000; ++i) {
    const Sample train = sampler.Train(Step(1 + i % 200), i);
    first[train.source] = std::min(first[train.source], train.first_token);
    last[train.source] = std::max(last[train.source], train.first_token + 17);
    for (int source : {0, 1}) {
      const Sample held_out = sampler.HeldOut(source, i);
      EXPECT_EQ(held_out.source, source);
      ASSERT_GE(held_out.first_token, sampler.train_tokens(source));
      ASSERT_LE(held_out.first_token + 17, source == 0 ? 1000 : 2000);
    }
  }
  for (int source : {0, 1}) {
    EXPECT_EQ(first[source], 0) << "the first token is never seen";
    EXPECT_EQ(last[source], sampler.train_tokens(source)) << "the last one is never seen, or one too many is";
  }
}

TEST(Sampler, UsesASourceThatHoldsExactlyOneSample) {
  DataConfig data = Drifting();
  data.held_out_fraction = 0.5;
  const Sampler sampler = Sampler::Make(data, 7, {34, 34}).value();
  EXPECT_EQ(sampler.Train(Step(1), 0).first_token, 0);
  EXPECT_EQ(sampler.HeldOut(1, 0).first_token, 17);
}

TEST(Sampler, RefusesWhatItCannotSample) {
  auto refusal = [](const DataConfig& data, std::vector<int64_t> tokens) {
    return std::string(Sampler::Make(data, 7, std::move(tokens)).status().message());
  };
  EXPECT_THAT(
      refusal(Drifting(), {1000, 100}),
      HasSubstr(
          "data.sources[1] (code): found 90 tokens to train on and 10 held out, allowed is at least 17"));
  EXPECT_THAT(refusal(Drifting(), {0, 1000}), HasSubstr("data.sources[0] (english)"));
  DataConfig data = Drifting();
  data.mixture[1].weights = {1};
  EXPECT_THAT(refusal(data, {1000, 1000}), HasSubstr("data.mixture[1].weights: found 1"));
  data.mixture[1].weights = {0, 0};
  EXPECT_THAT(refusal(data, {1000, 1000}), HasSubstr("sum 0"));
  data = Drifting();
  data.mixture[1].from_step = Step(1);
  EXPECT_THAT(refusal(data, {1000, 1000}), HasSubstr("data.mixture[1].from_step: found 1"));
  data.mixture.clear();
  EXPECT_THAT(refusal(data, {1000, 1000}), HasSubstr("begin at step 1"));
}

}  // namespace
}  // namespace ballast
