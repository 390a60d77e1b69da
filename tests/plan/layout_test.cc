#include "plan/layout.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/plan/fixtures.h"

namespace ballast {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(Layout, ParametersFollowTheMixtralFiles) {
  const ParameterLayout layout = testing::LayoutOf(testing::SmallJob(2, 3, 3));
  std::vector<std::string> names;
  for (const Parameter& parameter : layout.parameters()) names.push_back(parameter.name);
  ASSERT_EQ(names.size(), 1 + 2 * (7 + 9) + 2u);
  EXPECT_EQ(names[0], "model.embed_tokens.weight");
  EXPECT_THAT(
      std::vector<std::string>(names.begin() + 17, names.begin() + 33),
      ElementsAre("model.layers.1.input_layernorm.weight", "model.layers.1.self_attn.q_proj.weight",
                  "model.layers.1.self_attn.k_proj.weight", "model.layers.1.self_attn.v_proj.weight",
                  "model.layers.1.self_attn.o_proj.weight", "model.layers.1.post_attention_layernorm.weight",
                  "model.layers.1.block_sparse_moe.gate.weight",
                  "model.layers.1.block_sparse_moe.experts.0.w1.weight",
                  "model.layers.1.block_sparse_moe.experts.0.w2.weight",
                  "model.layers.1.block_sparse_moe.experts.0.w3.weight",
                  "model.layers.1.block_sparse_moe.experts.1.w1.weight",
                  "model.layers.1.block_sparse_moe.experts.1.w2.weight",
                  "model.layers.1.block_sparse_moe.experts.1.w3.weight",
                  "model.layers.1.block_sparse_moe.experts.2.w1.weight",
                  "model.layers.1.block_sparse_moe.experts.2.w2.weight",
                  "model.layers.1.block_sparse_moe.experts.2.w3.weight"));
  EXPECT_EQ(names[33], "model.norm.weight");
  EXPECT_EQ(names[34], "lm_head.weight");
}

TEST(Layout, ShapesOwnersAndDecay) {
  JobConfig job = testing::SmallJob(1, 2, 2);
  job.model.head_size = 6;  // so that q is [12, 8], k and v are [6, 8], o is [8, 12]
  const ParameterLayout layout = testing::LayoutOf(job);
  const auto& p = layout.parameters();
  EXPECT_THAT(p[0].shape, ElementsAre(10, 8));
  EXPECT_THAT(p[1].shape, ElementsAre(8));
  EXPECT_THAT(p[2].shape, ElementsAre(12, 8));
  EXPECT_THAT(p[3].shape, ElementsAre(6, 8));
  EXPECT_THAT(p[4].shape, ElementsAre(6, 8));
  EXPECT_THAT(p[5].shape, ElementsAre(8, 12));
  EXPECT_THAT(p[6].shape, ElementsAre(8));
  EXPECT_THAT(p[7].shape, ElementsAre(2, 8));
  EXPECT_THAT(p[8].shape, ElementsAre(6, 8));
  EXPECT_THAT(p[9].shape, ElementsAre(8, 6));
  EXPECT_THAT(p[10].shape, ElementsAre(6, 8));
  for (const Parameter& parameter : p) {
    int64_t elements = 1;
    for (int64_t size : parameter.shape) elements *= size;
    EXPECT_EQ(parameter.elements, elements) << parameter.name;
    EXPECT_EQ(parameter.decayed, parameter.shape.size() == 2) << parameter.name;
  }
  EXPECT_FALSE(p[0].layer);
  EXPECT_EQ(p[7].layer, LayerId(0));
  EXPECT_FALSE(p[7].expert);
  EXPECT_EQ(p[11].layer, LayerId(0));
  EXPECT_EQ(p[11].expert, ExpertId(1));
  EXPECT_EQ(layout.expert_elements(), 3 * 48);
  EXPECT_EQ(layout.total_elements(), 80 + (8 + 96 + 48 + 48 + 96 + 8 + 16) + 2 * 144 + 8 + 80);
}

TEST(Layout, BlocksCutEveryParameterAndNeverSpanTwo) {
  const ParameterLayout layout = testing::LayoutOf(testing::SmallJob(2, 3, 3));
  // Expert 1 of layer 1: three matrices of 48 elements, each in blocks of 20, 20 and 8.
  const auto range = layout.ExpertBlocks(LayerId(1), ExpertId(1));
  ASSERT_EQ(range.last - range.first, 9);
  const int w1 = layout.ExpertParameter(LayerId(1), ExpertId(1));
  EXPECT_EQ(layout.parameters()[w1].name, "model.layers.1.block_sparse_moe.experts.1.w1.weight");
  for (int i = 0; i < 9; ++i) {
    const Block& block = layout.blocks()[range.first + i];
    EXPECT_EQ(block.parameter, w1 + i / 3);
    EXPECT_EQ(block.offset, i % 3 * 20);
    EXPECT_EQ(block.elements, i % 3 == 2 ? 8 : 20);
  }
  // All blocks in order tile all parameters in order.
  size_t b = 0;
  for (size_t p = 0; p < layout.parameters().size(); ++p) {
    const Parameter& parameter = layout.parameters()[p];
    EXPECT_EQ(parameter.first_block, static_cast<int>(b));
    int64_t offset = 0;
    for (int i = 0; i < parameter.blocks; ++i, ++b) {
      ASSERT_LT(b, layout.blocks().size());
      EXPECT_EQ(layout.blocks()[b].parameter, static_cast<int>(p));
      EXPECT_EQ(layout.blocks()[b].offset, offset);
      EXPECT_GT(layout.blocks()[b].elements, 0);
      EXPECT_LE(layout.blocks()[b].elements, 20);
      offset += layout.blocks()[b].elements;
    }
    EXPECT_EQ(offset, parameter.elements);
  }
  EXPECT_EQ(b, layout.blocks().size());
}

TEST(Layout, ABlockMayHoldAWholeParameterButNoMore) {
  JobConfig job = testing::SmallJob(1, 1, 1);
  job.placement.block_elements = 80;
  const ParameterLayout exact = testing::LayoutOf(job);
  EXPECT_EQ(exact.parameters()[0].blocks, 1);
  job.placement.block_elements = 79;
  const ParameterLayout below = testing::LayoutOf(job);
  EXPECT_EQ(below.parameters()[0].blocks, 2);
  EXPECT_EQ(below.blocks()[1].elements, 1);
}

TEST(Layout, RefusesSizesThatAreNotPositive) {
  const JobConfig good = testing::SmallJob(1, 2, 2);
  const auto refused = [&](auto change, const std::string& text) {
    JobConfig job = good;
    change(job);
    const auto layout = ParameterLayout::Make(job.model, job.placement.block_elements);
    EXPECT_EQ(layout.status().code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_THAT(std::string(layout.status().message()), HasSubstr(text));
  };
  refused([](JobConfig& j) { j.model.vocabulary_size = 0; }, "model.vocabulary_size: found 0");
  refused([](JobConfig& j) { j.model.hidden_size = -1; }, "model.hidden_size: found -1");
  refused([](JobConfig& j) { j.model.layers = 0; }, "model.layers: found 0");
  refused([](JobConfig& j) { j.model.attention_heads = 0; }, "model.attention_heads: found 0");
  refused([](JobConfig& j) { j.model.key_value_heads = 0; }, "model.key_value_heads: found 0");
  refused([](JobConfig& j) { j.model.head_size = 0; }, "model.head_size: found 0");
  refused([](JobConfig& j) { j.model.moe.experts = 0; }, "model.moe.experts: found 0");
  refused([](JobConfig& j) { j.model.moe.intermediate_size = 0; }, "model.moe.intermediate_size: found 0");
  refused([](JobConfig& j) { j.placement.block_elements = 0; }, "placement.block_elements: found 0");
}

TEST(Layout, RefusesModelsThatDoNotFit) {
  JobConfig job = testing::SmallJob(1, 2, 2);
  job.model.layers = 2000000000;
  job.model.moe.experts = 2000000000;
  EXPECT_THAT(std::string(ParameterLayout::Make(job.model, 20).status().message()),
              HasSubstr("more than 16777216 parameters"));

  job = testing::SmallJob(1, 2, 2);
  job.model.vocabulary_size = 2000000000;
  EXPECT_THAT(
      std::string(ParameterLayout::Make(job.model, 20).status().message()),
      HasSubstr("placement.block_elements: found 20, which cuts the model into more than 16777216 blocks"));

  job.model.attention_heads = job.model.head_size = job.model.hidden_size = 2000000000;
  EXPECT_THAT(std::string(ParameterLayout::Make(job.model, int64_t{1} << 62).status().message()),
              HasSubstr("elements"));
}

}  // namespace
}  // namespace ballast
