#include "worker/backend/plugin.h"

#include <dlfcn.h>
#include <stdlib.h>

#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"

namespace ballast {
namespace {

constexpr char kAdvice[] = "; --device cpu trains without one";

}  // namespace

std::string CudaPluginPath() {
  std::error_code ignored;
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", ignored);
  return (program.parent_path().parent_path() / "lib" / "libballast_cuda.so").string();
}

absl::StatusOr<DevicePlugin*> LoadCudaPlugin(const std::string& path) {
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) {
    return absl::NotFoundError(
        absl::StrCat("no CUDA: this installation has no CUDA plug-in (", path, ")", kAdvice));
  }
  // NVLink multicast can put GPUs that are shared with others out of service.
  setenv("NCCL_NVLS_ENABLE", "0", /*overwrite=*/1);
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    return absl::FailedPreconditionError(
        absl::StrCat("no CUDA: the plug-in cannot be loaded: ", dlerror(), kAdvice));
  }
  auto find = reinterpret_cast<DevicePluginFunction>(dlsym(library, kDevicePluginSymbol));
  DevicePlugin* plugin = find == nullptr ? nullptr : find(kDevicePluginAbi);
  if (plugin == nullptr) {
    return absl::FailedPreconditionError(
        absl::StrCat("no CUDA: ", path, " belongs to another build of Ballast; this one wants its interface ",
                     kDevicePluginAbi, kAdvice));
  }
  auto devices = plugin->Devices();
  if (!devices.ok()) {
    return absl::Status(devices.status().code(),
                        absl::StrCat("no CUDA: ", std::string(devices.status().message()), kAdvice));
  }
  return plugin;
}

}  // namespace ballast
