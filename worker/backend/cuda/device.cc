#include "worker/backend/cuda/device.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status_macros.h"
#include "kernels/check.h"
#include "kernels/probe.h"

namespace ballast {

absl::StatusOr<std::vector<DeviceInfo>> CudaDevices() {
  int count = 0;
  const cudaError_t code = cudaGetDeviceCount(&count);
  if (code != cudaSuccess || count == 0) {
    cudaGetLastError();
    return absl::UnavailableError(absl::StrCat(
        "CUDA finds no device: ", code == cudaSuccess ? "none is visible" : cudaGetErrorString(code)));
  }
  std::vector<DeviceInfo> devices;
  for (int d = 0; d < count; ++d) {
    cudaDeviceProp properties;
    if (cudaError_t failed = cudaGetDeviceProperties(&properties, d); failed != cudaSuccess) {
      cudaGetLastError();
      return absl::UnavailableError(
          absl::StrCat("CUDA device ", d, " does not answer: ", cudaGetErrorString(failed)));
    }
    devices.push_back({.name = properties.name,
                       .compute_capability = absl::StrCat(properties.major, ".", properties.minor),
                       .memory_bytes = properties.totalGlobalMem,
                       .pci_bus_id = absl::StrFormat("%08X:%02X:%02X.0", properties.pciDomainID,
                                                     properties.pciBusID, properties.pciDeviceID)});
  }
  return devices;
}

absl::Status CheckCudaDevice(int device) {
  BALLAST_ASSIGN_OR_RETURN(std::vector<DeviceInfo> devices, CudaDevices());
  if (device < 0 || device >= static_cast<int>(devices.size())) {
    return absl::NotFoundError(absl::StrCat("there is no CUDA device ", device, "; this machine has ",
                                            devices.size(), ", numbered from 0"));
  }
  UseCudaDevice(device);
  if (!kernels::RunsOnCurrentDevice()) {
    return absl::FailedPreconditionError(
        absl::StrCat("this build has no kernels for CUDA device ", device, " (", devices[device].name,
                     ", compute capability ", devices[device].compute_capability, "); they are built for ",
                     BALLAST_CUDA_ARCHITECTURES, ", CMAKE_CUDA_ARCHITECTURES chooses"));
  }
  return absl::OkStatus();
}

void UseCudaDevice(int device) { BALLAST_CUDA_CHECK(cudaSetDevice(device)); }

}  // namespace ballast
