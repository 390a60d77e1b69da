// The CUDA backend: cuBLASLt for the matrix products, kernels/ for everything else.
#pragma once

#include <cstddef>
#include <limits>
#include <memory>

#include "absl/status/statusor.h"
#include "worker/backend/backend.h"

namespace ballast {

// Float32, or bfloat16 with float32 sums; the master type of the optimizer is float32. Operations round to
// the compute type once, where they store. InvalidArgument for another type; otherwise as CheckCudaDevice.
// Its operations make `device` the calling thread's and throw DeviceError; streams must not outlive it,
// buffers may. `bytes_max` bounds what may be allocated at one time.
absl::StatusOr<std::unique_ptr<Backend>> MakeCudaBackend(
    int device, DType dtype, size_t bytes_max = std::numeric_limits<size_t>::max());

}  // namespace ballast
