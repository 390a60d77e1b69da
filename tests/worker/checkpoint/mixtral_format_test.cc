// The model part of a checkpoint is a Mixtral checkpoint: what its names and shapes must be follows from
// config.json alone, and independent_reader finds exactly that.
#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "tests/worker/checkpoint/checkpoint_run.h"
#include "tests/worker/checkpoint/independent_reader.h"
#include "worker/backend/cpu/cpu_backend.h"

namespace ballast {
namespace {

using Shapes = std::map<std::string, std::vector<int64_t>>;

// As transformers' MixtralForCausalLM has them: a linear layer is [outputs, inputs].
Shapes ShapesOf(const std::map<std::string, std::string>& config) {
  const auto figure = [&config](const std::string& key) -> int64_t { return std::stoll(config.at(key)); };
  const int64_t hidden = figure("hidden_size"), intermediate = figure("intermediate_size");
  const int64_t queries = figure("num_attention_heads") * figure("head_dim");
  const int64_t keys = figure("num_key_value_heads") * figure("head_dim");
  const int64_t experts = figure("num_local_experts"), words = figure("vocab_size");
  Shapes shapes = {{"model.embed_tokens.weight", {words, hidden}},
                   {"model.norm.weight", {hidden}},
                   {"lm_head.weight", {words, hidden}}};
  for (int64_t l = 0; l < figure("num_hidden_layers"); ++l) {
    const std::string layer = "model.layers." + std::to_string(l) + ".";
    shapes[layer + "input_layernorm.weight"] = {hidden};
    shapes[layer + "self_attn.q_proj.weight"] = {queries, hidden};
    shapes[layer + "self_attn.k_proj.weight"] = {keys, hidden};
    shapes[layer + "self_attn.v_proj.weight"] = {keys, hidden};
    shapes[layer + "self_attn.o_proj.weight"] = {hidden, queries};
    shapes[layer + "post_attention_layernorm.weight"] = {hidden};
    shapes[layer + "block_sparse_moe.gate.weight"] = {experts, hidden};
    for (int64_t e = 0; e < experts; ++e) {
      const std::string expert = layer + "block_sparse_moe.experts." + std::to_string(e) + ".";
      shapes[expert + "w1.weight"] = {intermediate, hidden};
      shapes[expert + "w2.weight"] = {hidden, intermediate};
      shapes[expert + "w3.weight"] = {intermediate, hidden};
    }
  }
  return shapes;
}

// To the nearest that has the upper 16 bits alone, ties to even.
float RoundedToBFloat16(float value) {
  uint32_t bits = 0;
  std::memcpy(&bits, &value, sizeof(bits));
  bits += 0x7fff + ((bits >> 16) & 1);
  bits &= 0xffff0000;
  std::memcpy(&value, &bits, sizeof(bits));
  return value;
}

class MixtralFormat : public testing::TestWithParam<DType> {};

TEST_P(MixtralFormat, TheModelPartHasMixtralsNamesAndKeys) {
  const bool half = GetParam() == DType::kBFloat16;
  TempDir dir;
  RunSpec spec;
  spec.ranks = 2;
  spec.job = TinyJob();
  spec.job.model.head_size = 8;  // heads * head_size is not the hidden size: no two figures are the same
  spec.job.training.steps = 2;
  spec.job.checkpoint.path = dir.path();
  spec.job.checkpoint.every_steps = 0;
  spec.make_backend = [](Rank) { return MakeCpuBackend(GetParam()).value(); };
  const RunOutcome outcome = RunTraining(spec);
  for (const TrainResult& result : outcome.results) ASSERT_TRUE(result.status.ok()) << result.status;
  ASSERT_EQ(outcome.checkpoints.count(Step(2)), 1u) << "the last step has one, whatever every_steps says";
  const std::string directory = DirectoryOf(spec.job, Step(2)) + "/";

  const auto config = ReadTextMap(directory + "config.json", "");
  EXPECT_EQ(config.at("model_type"), "mixtral");
  EXPECT_EQ(config.at("num_local_experts"), "5");
  EXPECT_EQ(config.at("num_experts_per_tok"), "2");
  EXPECT_EQ(config.at("num_hidden_layers"), "2");
  EXPECT_EQ(config.at("head_dim"), "8");
  EXPECT_EQ(config.at("tie_word_embeddings"), "false");
  EXPECT_EQ(config.at("torch_dtype"), half ? "bfloat16" : "float32");

  const Shapes expected = ShapesOf(config);
  const std::string index_file = directory + "model.safetensors.index.json";
  const auto index = ReadTextMap(index_file, "weight_map");
  EXPECT_EQ(index.at("lm_head.weight"), "model-00001-of-00002.safetensors");
  Shapes found;
  std::map<std::string, std::vector<float>> model, masters;
  int64_t elements = 0;
  for (const auto& [rank, written] : outcome.checkpoints.at(Step(2))) {
    for (const CheckpointFile& file : written.files) {
      if (!file.name.ends_with(".safetensors")) continue;
      for (auto& [name, tensor] : ReadTensorFile(directory + file.name)) {
        if (!file.name.starts_with("model-")) {
          EXPECT_EQ(tensor.dtype, "F32") << name;
          masters[name] = std::move(tensor.values);
          continue;
        }
        EXPECT_TRUE(found.emplace(name, tensor.shape).second) << name << " is written twice";
        EXPECT_EQ(tensor.dtype, half ? "BF16" : "F32") << name;
        ASSERT_EQ(index.count(name), 1u) << name;
        EXPECT_EQ(index.at(name), file.name) << name;
        elements += static_cast<int64_t>(tensor.values.size());
        model[name] = std::move(tensor.values);
      }
    }
  }
  EXPECT_EQ(found, expected);
  EXPECT_EQ(index.size(), expected.size());
  EXPECT_EQ(ReadTextMap(index_file, "metadata").at("total_size"), std::to_string((half ? 2 : 4) * elements));

  // The values are the masters', which are float32 in either case.
  const ParameterLayout layout = LayoutOf(spec.job);
  for (const Parameter& parameter : layout.parameters()) {
    std::vector<float> wanted;
    for (int b = 0; b < parameter.blocks; ++b) {
      const Block& block = layout.block(BlockId(parameter.first_block + b));
      for (float value : masters.at(parameter.name + "@" + std::to_string(block.offset) + ".master"))
        wanted.push_back(half ? RoundedToBFloat16(value) : value);
    }
    EXPECT_EQ(model.at(parameter.name), wanted) << parameter.name;
  }
}

INSTANTIATE_TEST_SUITE_P(DTypes, MixtralFormat, testing::Values(DType::kFloat32, DType::kBFloat16),
                         [](const testing::TestParamInfo<DType>& info) {
                           return info.param == DType::kBFloat16 ? "bfloat16" : "float32";
                         });

}  // namespace
}  // namespace ballast
