// Inputs of the MoE layer benchmark: functions of (tensor, element) alone, so that a baseline in another
// language makes the same ones (bench/baselines/torch_ep.py).
//
// Element i of tensor t is made from h = splitmix64(t * 2^40 + i), of which the upper 16 bits are used.
//
// Routing is exact: activations are multiples of 2^-3, router weights of 2^-8, and the first three columns of
// x are 1 and carry the bias of the expert's logit with its number as the last bits. So every logit is a
// multiple of 2^-18 that float32 sums hold exactly in any order, no two of a token are equal, and the choice
// of experts is the same whoever computes it.
#pragma once

#include <cstdint>
#include <vector>

#include "bench/layer_case/layer_case.h"

namespace ballast::bench {

// Tensor numbers: kind * 1000 + index.
enum class Kind { kX = 1, kOutGradient = 2, kRouter = 3, kW1 = 4, kW3 = 5, kW2 = 6 };

// bfloat16 values as their bits.
using Values = std::vector<uint16_t>;

Values MakeX(const LayerCase& c, int rank);            // [tokens, hidden]
Values MakeOutGradient(const LayerCase& c, int rank);  // [tokens, hidden], uniform in [-1, 1)
Values MakeRouter(const LayerCase& c);                 // [experts, hidden]
// Uniform with variance 1 / (the product's inner size). kW1, kW3: [intermediate, hidden]; kW2: [hidden,
// intermediate].
Values MakeWeight(const LayerCase& c, Kind kind, int expert);

float FromBits(uint16_t bits);

}  // namespace ballast::bench
