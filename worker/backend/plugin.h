// The accelerator plug-in: a shared object, opened at run time, that makes backends and communicators for the
// devices of this machine. Programs do not depend on CUDA; they ask for the plug-in when a user wants
// devices.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "base/ids.h"
#include "worker/backend/backend.h"
#include "worker/comm/communicator.h"
#include "worker/comm/rendezvous.h"

namespace ballast {

struct DeviceInfo {
  std::string name;
  std::string compute_capability;  // "9.0"
  size_t memory_bytes = 0;
  std::string pci_bus_id;  // "00000000:1B:00.0"
};

struct DeviceCommunicatorOptions {
  Rank rank;
  int size = 0;
  Generation generation;      // prefix of all keys: a late rank of an older generation meets nobody
  int device = 0;             // of this rank; ranks of one communicator have different devices
  std::string name = "main";  // tells several communicators of one generation apart
  int thread_blocks_max = 0;  // of a transfer on the device; 0 leaves it to the library
  Time deadline;              // for all ranks to have joined
};

// All methods may be called from any thread.
class DevicePlugin {
 public:
  virtual ~DevicePlugin() = default;

  // In the order of their numbers. Unavailable, saying why, when there is no driver or no device.
  virtual absl::StatusOr<std::vector<DeviceInfo>> Devices() = 0;

  // As MakeCudaBackend. Bounds its memory by `bytes_max`.
  virtual absl::StatusOr<std::unique_ptr<Backend>> MakeBackend(int device, DType dtype, size_t bytes_max) = 0;

  // Blocks until all ranks have joined; every one of them calls it. As ConnectNccl. Its streams are those of
  // a backend of the same device.
  virtual absl::StatusOr<std::unique_ptr<Communicator>> Connect(const DeviceCommunicatorOptions& options,
                                                                RendezvousStore& store) = 0;
};

// Raised whenever DevicePlugin, Backend, Communicator or what they are made of changes.
constexpr int kDevicePluginAbi = 9;

// The plug-in's one symbol. Null when `abi` is not the plug-in's own. The plug-in is never unloaded and owns
// what it returns.
constexpr char kDevicePluginSymbol[] = "ballast_device_plugin";
using DevicePluginFunction = DevicePlugin* (*)(int abi);

// Where this program's plug-in lies: ../lib/libballast_cuda.so, seen from the program's folder.
std::string CudaPluginPath();

// Opens the plug-in and makes sure that it has a device, with one line for the user otherwise, which offers
// --device cpu: NotFound without a plug-in, FailedPrecondition for one that cannot be loaded or is of another
// build, Unavailable without a driver or device. May set environment variables, so the first call belongs
// before a program starts other threads.
absl::StatusOr<DevicePlugin*> LoadCudaPlugin(const std::string& path = CudaPluginPath());

}  // namespace ballast
