#include "plan/layout.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"

namespace ballast {
namespace {

// Enough for a trillion parameters in blocks of 2^16, and few enough that a home table stays a message, not a
// file.
constexpr int64_t kBlocksMax = int64_t{1} << 24;
// Leaves room for the 12 bytes a parameter's optimizer state takes, in 64 bits.
constexpr int64_t kElementsMax = int64_t{1} << 56;

absl::Status CheckPositive(const char* field, int64_t value) {
  if (value > 0) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(field, ": found ", value, ", allowed is at least 1"));
}

absl::Status CheckSizes(const ModelConfig& model, int64_t block_elements) {
  const std::pair<const char*, int64_t> sizes[] = {
      {"model.vocabulary_size", model.vocabulary_size},
      {"model.hidden_size", model.hidden_size},
      {"model.layers", model.layers},
      {"model.attention_heads", model.attention_heads},
      {"model.key_value_heads", model.key_value_heads},
      {"model.head_size", model.head_size},
      {"model.moe.experts", model.moe.experts},
      {"model.moe.intermediate_size", model.moe.intermediate_size},
      {"placement.block_elements", block_elements},
  };
  for (const auto& [field, value] : sizes) BALLAST_RETURN_IF_ERROR(CheckPositive(field, value));
  // Every parameter has a block of its own, so this also bounds what is allocated below.
  __int128 parameters =
      3 + static_cast<__int128>(model.layers) * (7 + 3 * static_cast<__int128>(model.moe.experts));
  if (parameters > kBlocksMax) {
    return absl::InvalidArgumentError(absl::StrCat("model: ", model.layers, " layers of ", model.moe.experts,
                                                   " experts have more than ", kBlocksMax, " parameters"));
  }
  return absl::OkStatus();
}

struct Place {
  std::optional<LayerId> layer;
  std::optional<ExpertId> expert;
};

// Appends parameters in global order and cuts them into blocks.
class Builder {
 public:
  explicit Builder(int64_t block_elements) : block_elements_(block_elements) {}

  absl::Status Add(std::string name, std::vector<int64_t> shape, Place place) {
    __int128 elements = 1;
    for (int64_t size : shape) {
      elements *= size;  // at most three factors below 2^32 each
      if (elements > kElementsMax) {
        return absl::InvalidArgumentError(absl::StrCat(name, ": more than ", kElementsMax, " elements"));
      }
    }
    Parameter parameter;
    parameter.name = std::move(name);
    parameter.decayed = shape.size() > 1;
    parameter.shape = std::move(shape);
    parameter.elements = static_cast<int64_t>(elements);
    parameter.layer = place.layer;
    parameter.expert = place.expert;
    int64_t count = 1 + (parameter.elements - 1) / block_elements_;
    if (static_cast<int64_t>(blocks.size()) + count > kBlocksMax) {
      return absl::InvalidArgumentError(absl::StrCat("placement.block_elements: found ", block_elements_,
                                                     ", which cuts the model into more than ", kBlocksMax,
                                                     " blocks; allowed is a larger value"));
    }
    parameter.first_block = static_cast<int>(blocks.size());
    parameter.blocks = static_cast<int>(count);
    total_elements += parameter.elements;
    if (total_elements > kElementsMax) {
      return absl::InvalidArgumentError(absl::StrCat("model: more than ", kElementsMax, " parameters"));
    }
    for (int64_t offset = 0; offset < parameter.elements;) {
      int64_t length = std::min(block_elements_, parameter.elements - offset);
      blocks.push_back({static_cast<int>(parameters.size()), offset, length});
      offset += length;
    }
    parameters.push_back(std::move(parameter));
    return absl::OkStatus();
  }

  std::vector<Parameter> parameters;
  std::vector<Block> blocks;
  int64_t total_elements = 0;

 private:
  const int64_t block_elements_;
};

}  // namespace

absl::StatusOr<ParameterLayout> ParameterLayout::Make(const ModelConfig& model, int64_t block_elements) {
  BALLAST_RETURN_IF_ERROR(CheckSizes(model, block_elements));
  const int64_t hidden = model.hidden_size;
  const int64_t query = int64_t{model.attention_heads} * model.head_size;
  const int64_t key_value = int64_t{model.key_value_heads} * model.head_size;
  const int64_t intermediate = model.moe.intermediate_size;

  ParameterLayout layout;
  layout.layers_ = model.layers;
  layout.experts_ = model.moe.experts;
  Builder builder(block_elements);
  BALLAST_RETURN_IF_ERROR(builder.Add("model.embed_tokens.weight", {model.vocabulary_size, hidden}, {}));
  for (int i = 0; i < model.layers; ++i) {
    const std::string prefix = absl::StrCat("model.layers.", i, ".");
    const Place layer{LayerId(i), std::nullopt};
    BALLAST_RETURN_IF_ERROR(builder.Add(prefix + "input_layernorm.weight", {hidden}, layer));
    BALLAST_RETURN_IF_ERROR(builder.Add(prefix + "self_attn.q_proj.weight", {query, hidden}, layer));
    BALLAST_RETURN_IF_ERROR(builder.Add(prefix + "self_attn.k_proj.weight", {key_value, hidden}, layer));
    BALLAST_RETURN_IF_ERROR(builder.Add(prefix + "self_attn.v_proj.weight", {key_value, hidden}, layer));
    BALLAST_RETURN_IF_ERROR(builder.Add(prefix + "self_attn.o_proj.weight", {hidden, query}, layer));
    BALLAST_RETURN_IF_ERROR(builder.Add(prefix + "post_attention_layernorm.weight", {hidden}, layer));
    BALLAST_RETURN_IF_ERROR(
        builder.Add(prefix + "block_sparse_moe.gate.weight", {model.moe.experts, hidden}, layer));
    for (int e = 0; e < model.moe.experts; ++e) {
      const std::string expert = absl::StrCat(prefix, "block_sparse_moe.experts.", e, ".");
      const Place place{LayerId(i), ExpertId(e)};
      layout.expert_parameter_.push_back(static_cast<int>(builder.parameters.size()));
      BALLAST_RETURN_IF_ERROR(builder.Add(expert + "w1.weight", {intermediate, hidden}, place));
      BALLAST_RETURN_IF_ERROR(builder.Add(expert + "w2.weight", {hidden, intermediate}, place));
      BALLAST_RETURN_IF_ERROR(builder.Add(expert + "w3.weight", {intermediate, hidden}, place));
    }
  }
  BALLAST_RETURN_IF_ERROR(builder.Add("model.norm.weight", {hidden}, {}));
  BALLAST_RETURN_IF_ERROR(builder.Add("lm_head.weight", {model.vocabulary_size, hidden}, {}));

  layout.parameters_ = std::move(builder.parameters);
  layout.blocks_ = std::move(builder.blocks);
  layout.expert_elements_ = 3 * intermediate * hidden;
  layout.total_elements_ = builder.total_elements;
  return layout;
}

int ParameterLayout::ExpertParameter(LayerId layer, ExpertId expert) const {
  BALLAST_CHECK(layer.value() >= 0 && layer.value() < layers_) << "layer " << layer << " of " << layers_;
  BALLAST_CHECK(expert.value() >= 0 && expert.value() < experts_)
      << "expert " << expert << " of " << experts_;
  return expert_parameter_[layer.index() * static_cast<size_t>(experts_) + expert.index()];
}

ParameterLayout::BlockRange ParameterLayout::ExpertBlocks(LayerId layer, ExpertId expert) const {
  const int w1 = ExpertParameter(layer, expert);
  const Parameter& last = parameters_[w1 + 2];
  return {parameters_[w1].first_block, last.first_block + last.blocks};
}

}  // namespace ballast
