#include "worker/checkpoint/model_config.h"

#include <nlohmann/json.hpp>

namespace ballast {

std::string ModelConfigText(const JobConfig& job, DType dtype) {
  const ModelConfig& model = job.model;
  nlohmann::ordered_json json;
  json["architectures"] = {"MixtralForCausalLM"};
  json["attention_dropout"] = 0.0;
  json["head_dim"] = model.head_size;
  json["hidden_act"] = "silu";
  json["hidden_size"] = model.hidden_size;
  json["initializer_range"] = model.initializer_range;
  json["intermediate_size"] = model.moe.intermediate_size;
  json["max_position_embeddings"] = job.data.sequence_length;
  json["model_type"] = "mixtral";
  json["num_attention_heads"] = model.attention_heads;
  json["num_experts_per_tok"] = model.moe.top_k;
  json["num_hidden_layers"] = model.layers;
  json["num_key_value_heads"] = model.key_value_heads;
  json["num_local_experts"] = model.moe.experts;
  json["rms_norm_eps"] = model.rms_norm_epsilon;
  json["rope_theta"] = model.rope_theta;
  json["router_aux_loss_coef"] = model.moe.load_balance_coefficient;
  json["sliding_window"] = nullptr;
  json["tie_word_embeddings"] = false;
  json["torch_dtype"] = dtype == DType::kFloat64    ? "float64"
                        : dtype == DType::kBFloat16 ? "bfloat16"
                                                    : "float32";
  json["vocab_size"] = model.vocabulary_size;
  return json.dump(2) + "\n";
}

}  // namespace ballast
