// Learning rate, step table and clipping.
#include <gtest/gtest.h>

#include <cmath>

#include "base/rng.h"
#include "worker/optimizer/learning_rate.h"
#include "worker/optimizer/step_table.h"

namespace ballast {
namespace {

TEST(LearningRate, RisesThenFollowsACosine) {
  OptimizerConfig config;
  config.learning_rate = 1.0;
  config.learning_rate_min = 0.1;
  config.warmup_steps = 4;
  EXPECT_DOUBLE_EQ(LearningRate(config, 104, Step(1)), 0.25);
  EXPECT_DOUBLE_EQ(LearningRate(config, 104, Step(4)), 1.0);
  EXPECT_DOUBLE_EQ(LearningRate(config, 104, Step(54)), 0.55);  // half-way
  EXPECT_DOUBLE_EQ(LearningRate(config, 104, Step(104)), 0.1);
  EXPECT_DOUBLE_EQ(LearningRate(config, 104, Step(1000)), 0.1);
  for (int s = 5; s <= 104; ++s) {
    EXPECT_LT(LearningRate(config, 104, Step(s)), LearningRate(config, 104, Step(s - 1)));
  }
  config.warmup_steps = 0;
  EXPECT_LT(LearningRate(config, 104, Step(1)), 1.0);
  config.warmup_steps = 200;  // longer than the job
  EXPECT_DOUBLE_EQ(LearningRate(config, 104, Step(104)), 0.52);
}

StepTableShape Shape(const std::vector<int>& home_of_block) {
  StepTableShape shape;
  shape.sequences = {2, 0, 3};
  shape.owned.resize(3);
  shape.blocks = static_cast<int64_t>(home_of_block.size());
  for (size_t b = 0; b < home_of_block.size(); ++b) {
    shape.owned[home_of_block[b]].push_back(BlockId(static_cast<int>(b)));
  }
  return shape;
}

StepTable TableVia(const StepTableShape& shape, const std::vector<SequenceLoss>& losses,
                   const std::vector<double>& squares) {
  std::vector<char> bytes;
  size_t first = 0;
  for (int rank = 0; rank < 3; ++rank) {
    StepRow row;
    row.header.generation = Generation(3);
    row.header.step = Step(17);
    if (rank == 2) row.header.failure = {FailureCause::kGradient, ModelPart::kLayer, 1};
    row.header.split_hash = 5;
    for (int64_t i = 0; i < shape.sequences[rank]; ++i) row.losses.push_back(losses[first++]);
    for (BlockId block : shape.owned[rank]) row.block_squares.push_back(squares[block.index()]);
    const size_t begin = bytes.size();
    bytes.resize(begin + RowBytes(shape, Rank(rank)));
    EncodeRow(row, bytes.data() + begin);
  }
  return DecodeTable(shape, bytes.data());
}

TEST(StepTable, SumsDoNotDependOnWhereBlocksLive) {
  Rng rng(1);
  std::vector<SequenceLoss> losses(5);
  for (SequenceLoss& loss : losses) loss = {rng.Normal(), rng.Normal(), rng.Normal()};
  std::vector<double> squares(7);
  for (double& square : squares) square = std::exp(20 * rng.Normal());  // sums depend on their order
  StepTable one = TableVia(Shape({0, 0, 0, 1, 1, 2, 2}), losses, squares);
  StepTable other = TableVia(Shape({2, 1, 0, 2, 1, 0, 2}), losses, squares);
  EXPECT_EQ(one.block_squares, squares);
  EXPECT_EQ(other.block_squares, squares);
  EXPECT_EQ(GlobalNorm(one), GlobalNorm(other));
  ASSERT_EQ(one.losses.size(), 5u);
  EXPECT_EQ(one.losses[4].z_loss, losses[4].z_loss);
  EXPECT_EQ(SumLosses(one.losses).cross_entropy, SumLosses(losses).cross_entropy);
  ASSERT_EQ(one.headers.size(), 3u);
  EXPECT_TRUE(one.headers[1].ok());
  EXPECT_FALSE(one.headers[2].ok());
  EXPECT_EQ(one.headers[2].failure, (StepFailure{FailureCause::kGradient, ModelPart::kLayer, 1}));
  EXPECT_EQ(one.headers[2].step, Step(17));
}

TEST(StepTable, Clipping) {
  EXPECT_EQ(ClipFactor(5, 0), 1);
  EXPECT_EQ(ClipFactor(5, 5), 1);
  EXPECT_EQ(ClipFactor(10, 5), 0.5);
  EXPECT_EQ(ClipFactor(0, 1), 1);
}

}  // namespace
}  // namespace ballast
