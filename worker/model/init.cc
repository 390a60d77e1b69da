#include "worker/model/init.h"

#include <algorithm>

#include "base/check.h"
#include "base/rng.h"

namespace ballast {
namespace {

constexpr uint64_t kPurpose = 0x696e6974;  // "init": no other use of the seed gets these numbers

template <class T>
void Fill(const ParameterLayout& layout, const ModelConfig& config, uint64_t seed, BlockId id,
          std::span<T> out) {
  const Block& block = layout.block(id);
  BALLAST_CHECK(static_cast<int64_t>(out.size()) == block.elements);
  // Vectors are norms: the model has no biases.
  if (layout.parameter_of(id).shape.size() == 1) {
    std::fill(out.begin(), out.end(), T(1));
    return;
  }
  for (int64_t i = 0; i < block.elements; ++i) {
    Rng rng(HashSeed(
        {seed, kPurpose, static_cast<uint64_t>(block.parameter), static_cast<uint64_t>(block.offset + i)}));
    out[i] = static_cast<T>(rng.Normal() * config.initializer_range);
  }
}

}  // namespace

void FillInitial(const ParameterLayout& layout, const ModelConfig& config, uint64_t seed, BlockId block,
                 std::span<double> out) {
  Fill(layout, config, seed, block, out);
}
void FillInitial(const ParameterLayout& layout, const ModelConfig& config, uint64_t seed, BlockId block,
                 std::span<float> out) {
  Fill(layout, config, seed, block, out);
}

}  // namespace ballast
