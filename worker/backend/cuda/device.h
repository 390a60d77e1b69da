// The CUDA devices of this machine.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "worker/backend/plugin.h"

namespace ballast {

// In CUDA's order. Unavailable, with what the driver says, when there is no driver or no device.
absl::StatusOr<std::vector<DeviceInfo>> CudaDevices();

// NotFound when there is no device of that number; FailedPrecondition when this build has no kernels for it.
absl::Status CheckCudaDevice(int device);

// Makes `device` the calling thread's. Throws DeviceError.
void UseCudaDevice(int device);

}  // namespace ballast
