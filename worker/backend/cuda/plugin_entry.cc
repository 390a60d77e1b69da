// What the plug-in exports.
#include "worker/backend/cuda/cuda_backend.h"
#include "worker/backend/cuda/device.h"
#include "worker/backend/plugin.h"
#include "worker/comm/nccl/nccl_communicator.h"

namespace ballast {
namespace {

class CudaPlugin final : public DevicePlugin {
 public:
  absl::StatusOr<std::vector<DeviceInfo>> Devices() override { return CudaDevices(); }
  absl::StatusOr<std::unique_ptr<Backend>> MakeBackend(int device, DType dtype, size_t bytes_max) override {
    return MakeCudaBackend(device, dtype, bytes_max);
  }
  absl::StatusOr<std::unique_ptr<Communicator>> Connect(const DeviceCommunicatorOptions& options,
                                                        RendezvousStore& store) override {
    return ConnectNccl(options, store);
  }
};

}  // namespace
}  // namespace ballast

extern "C" __attribute__((visibility("default"))) ballast::DevicePlugin* ballast_device_plugin(int abi) {
  static ballast::CudaPlugin plugin;
  return abi == ballast::kDevicePluginAbi ? &plugin : nullptr;
}
