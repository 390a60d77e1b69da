// Initial weights: a pure function of (seed, parameter, element), so that every rank can fill any block alone
// and the model does not depend on how many ranks there are.
#pragma once

#include <cstdint>
#include <span>

#include "plan/job_config.h"
#include "plan/layout.h"

namespace ballast {

// Fills `out`, one value per element of the block: 1 for norms, else normal with mean 0 and standard
// deviation config.initializer_range. Requires out.size() == layout.block(block).elements.
void FillInitial(const ParameterLayout& layout, const ModelConfig& config, uint64_t seed, BlockId block,
                 std::span<double> out);
// The same values, rounded.
void FillInitial(const ParameterLayout& layout, const ModelConfig& config, uint64_t seed, BlockId block,
                 std::span<float> out);

}  // namespace ballast
