// The CPU backend: the oracle that other backends are compared with, and what runs where there is no
// accelerator.
#pragma once

#include <cstddef>
#include <limits>
#include <memory>

#include "absl/status/statusor.h"
#include "worker/backend/backend.h"

namespace ballast {

// The optimizer's master type is the compute type, and float beside bfloat16, which is there as the oracle of
// devices in that type and slower than float. NotFound when OpenBLAS cannot be loaded. `bytes_max` bounds
// what may be allocated at one time. May be shared by threads that use different streams; buffers may outlive
// it. See LoadBlas for the first call in a process.
absl::StatusOr<std::unique_ptr<Backend>> MakeCpuBackend(
    DType dtype, size_t bytes_max = std::numeric_limits<size_t>::max());

// AttentionSavedBytes of a backend of `dtype`.
size_t CpuAttentionSavedBytes(const AttentionShape& shape, DType dtype);

}  // namespace ballast
