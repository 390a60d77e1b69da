#include "worker/model/dense_parameters.h"

#include <cstdint>
#include <unordered_map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"

namespace ballast {
namespace {

class Finder {
 public:
  explicit Finder(const ParameterLayout& layout) : layout_(layout) {
    for (size_t i = 0; i < layout.parameters().size(); ++i) {
      index_[layout.parameters()[i].name] = static_cast<int>(i);
    }
  }

  absl::StatusOr<int> Find(const std::string& name, const std::vector<int64_t>& shape) const {
    auto found = index_.find(name);
    if (found == index_.end()) return absl::InvalidArgumentError(absl::StrCat("the layout has no ", name));
    const std::vector<int64_t>& there = layout_.parameters()[found->second].shape;
    if (there != shape) {
      return absl::InvalidArgumentError(absl::StrCat(name, ": found shape [", absl::StrJoin(there, ", "),
                                                     "], allowed [", absl::StrJoin(shape, ", "), "]"));
    }
    return found->second;
  }

 private:
  const ParameterLayout& layout_;
  std::unordered_map<std::string, int> index_;
};

}  // namespace

absl::StatusOr<DenseParameters> FindDenseParameters(const ModelConfig& model, const ParameterLayout& layout) {
  const Finder finder(layout);
  const int64_t hidden = model.hidden_size;
  const int64_t queries = int64_t{model.attention_heads} * model.head_size;
  const int64_t keys = int64_t{model.key_value_heads} * model.head_size;
  DenseParameters found;
  BALLAST_ASSIGN_OR_RETURN(found.embedding,
                           finder.Find("model.embed_tokens.weight", {model.vocabulary_size, hidden}));
  BALLAST_ASSIGN_OR_RETURN(found.final_norm, finder.Find("model.norm.weight", {hidden}));
  BALLAST_ASSIGN_OR_RETURN(found.head, finder.Find("lm_head.weight", {model.vocabulary_size, hidden}));
  for (int i = 0; i < model.layers; ++i) {
    const std::string prefix = absl::StrCat("model.layers.", i, ".");
    LayerParameters& layer = found.layers.emplace_back();
    BALLAST_ASSIGN_OR_RETURN(layer.attention_norm, finder.Find(prefix + "input_layernorm.weight", {hidden}));
    BALLAST_ASSIGN_OR_RETURN(layer.query, finder.Find(prefix + "self_attn.q_proj.weight", {queries, hidden}));
    BALLAST_ASSIGN_OR_RETURN(layer.key, finder.Find(prefix + "self_attn.k_proj.weight", {keys, hidden}));
    BALLAST_ASSIGN_OR_RETURN(layer.value, finder.Find(prefix + "self_attn.v_proj.weight", {keys, hidden}));
    BALLAST_ASSIGN_OR_RETURN(layer.output,
                             finder.Find(prefix + "self_attn.o_proj.weight", {hidden, queries}));
    BALLAST_ASSIGN_OR_RETURN(layer.moe_norm,
                             finder.Find(prefix + "post_attention_layernorm.weight", {hidden}));
    BALLAST_ASSIGN_OR_RETURN(
        layer.router, finder.Find(prefix + "block_sparse_moe.gate.weight", {model.moe.experts, hidden}));
  }
  return found;
}

}  // namespace ballast
