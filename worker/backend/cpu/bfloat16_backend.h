// The CPU backend of compute type bfloat16: the oracle of devices in that type.
#pragma once

#include <cstddef>
#include <memory>

#include "worker/backend/backend.h"

namespace ballast {

// Values are stored as bf16. Every operation widens its operands to float, runs as `wide` does and rounds
// what it stores once, to nearest even: the points at which the CUDA backend rounds (docs/cuda.md lists
// them). Slow, as every operand is copied. `wide` is the float backend, from which it has its streams;
// `bytes_max` as at MakeCpuBackend.
std::unique_ptr<Backend> MakeBFloat16Backend(std::unique_ptr<Backend> wide, size_t bytes_max);

}  // namespace ballast
