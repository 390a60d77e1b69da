#include "bench/layer_case/layer_case.h"

#include <cmath>

#include "absl/strings/str_cat.h"

namespace ballast::bench {

std::string LayerCase::Name() const { return absl::StrCat(shape, " T=", tokens, " ", routing); }

double LayerCase::Flops(int ranks) const {
  return 18.0 * static_cast<double>(ranks * tokens * top_k) * static_cast<double>(hidden * intermediate);
}

absl::StatusOr<LayerCase> MakeCase(const std::string& shape, int64_t tokens, const std::string& routing) {
  LayerCase c{.shape = shape, .routing = routing, .tokens = tokens};
  if (shape == "mixtral") {  // Mixtral-8x7B
    c.hidden = 4096, c.intermediate = 14336, c.experts = 8, c.top_k = 2;
  } else if (shape == "deepseek") {  // DeepSeek-V3 with a quarter of its experts
    c.hidden = 7168, c.intermediate = 2048, c.experts = 64, c.top_k = 8;
  } else if (shape == "qwen3") {  // Qwen3-30B-A3B
    c.hidden = 2048, c.intermediate = 768, c.experts = 128, c.top_k = 8;
  } else if (shape == "tiny") {  // to try the benchmark itself
    c.hidden = 256, c.intermediate = 128, c.experts = 8, c.top_k = 2;
  } else {
    return absl::InvalidArgumentError(
        absl::StrCat("--shape: found \"", shape, "\", allowed are mixtral, deepseek, qwen3 and tiny"));
  }
  if (routing != "balanced" && routing != "zipf" && routing != "hot_rank") {
    return absl::InvalidArgumentError(
        absl::StrCat("--routing: found \"", routing, "\", allowed are balanced, zipf and hot_rank"));
  }
  if (tokens < 1)
    return absl::InvalidArgumentError(absl::StrCat("--tokens: found ", tokens, ", allowed from 1"));
  return c;
}

double LogitBias(const LayerCase& c, int expert) {
  if (c.routing == "zipf") return -std::log(expert + 1.0);
  if (c.routing == "hot_rank") return expert < c.experts / 2 ? 3.0 : 0.0;
  return 0.0;
}

}  // namespace ballast::bench
