#include "worker/model/init.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "tests/worker/model/cluster.h"

namespace ballast {
namespace {

std::vector<double> Whole(const ModelConfig& model, int64_t block_elements, uint64_t seed) {
  const ParameterLayout layout = ParameterLayout::Make(model, block_elements).value();
  std::vector<double> all;
  for (size_t b = 0; b < layout.blocks().size(); ++b) {
    std::vector<double> block(layout.blocks()[b].elements, NAN);
    FillInitial(layout, model, seed, BlockId(static_cast<int>(b)), std::span<double>(block));
    all.insert(all.end(), block.begin(), block.end());
  }
  return all;
}

TEST(InitialWeights, DoNotDependOnHowParametersAreCutIntoBlocks) {
  const ModelConfig model = SmallModel(3, 2);
  const std::vector<double> whole = Whole(model, 1 << 20, 1);
  EXPECT_EQ(Whole(model, 7, 1), whole);
  EXPECT_EQ(Whole(model, 64, 1), whole);
  EXPECT_NE(Whole(model, 7, 2), whole);
}

TEST(InitialWeights, FloatsAreTheDoublesRounded) {
  const ModelConfig model = SmallModel(3, 2);
  const ParameterLayout layout = LayoutOf(model);
  std::vector<double> exact(layout.blocks()[0].elements);
  std::vector<float> rounded(exact.size());
  FillInitial(layout, model, 5, BlockId(0), std::span<double>(exact));
  FillInitial(layout, model, 5, BlockId(0), std::span<float>(rounded));
  for (size_t i = 0; i < exact.size(); ++i) EXPECT_EQ(rounded[i], static_cast<float>(exact[i]));
}

TEST(InitialWeights, AreOnesForNormsAndNormalForMatrices) {
  ModelConfig model = SmallModel(3, 2);
  model.hidden_size = 100;
  model.vocabulary_size = 500;
  model.initializer_range = 0.02;
  const ParameterLayout layout = LayoutOf(model);
  for (size_t b = 0; b < layout.blocks().size(); ++b) {
    const BlockId id(static_cast<int>(b));
    std::vector<double> values(layout.block(id).elements);
    FillInitial(layout, model, 3, id, std::span<double>(values));
    if (layout.parameter_of(id).shape.size() == 1) {
      EXPECT_EQ(values, std::vector<double>(values.size(), 1));
      continue;
    }
    const double n = static_cast<double>(values.size());
    double sum = 0, squares = 0;
    for (double value : values) {
      sum += value;
      squares += value * value;
    }
    // Five standard deviations of the mean and of the variance.
    EXPECT_NEAR(sum / n, 0, 5 * 0.02 / std::sqrt(n)) << layout.parameter_of(id).name;
    EXPECT_NEAR(squares / n, 0.0004, 5 * 0.0004 * std::sqrt(2 / n)) << layout.parameter_of(id).name;
    EXPECT_EQ(std::set<double>(values.begin(), values.end()).size(), values.size()) << "repeated numbers";
  }
}

}  // namespace
}  // namespace ballast
