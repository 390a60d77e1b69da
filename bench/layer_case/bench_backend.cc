#include "bench/layer_case/bench_backend.h"

#include <limits>

#include "base/status_macros.h"
#include "worker/backend/cpu/cpu_backend.h"
#include "worker/backend/plugin.h"

namespace ballast::bench {

absl::StatusOr<std::unique_ptr<Backend>> MakeBenchBackend(const std::string& device) {
  if (device == "cpu") return MakeCpuBackend(DType::kBFloat16);
  BALLAST_ASSIGN_OR_RETURN(DevicePlugin * plugin, LoadCudaPlugin());
  return plugin->MakeBackend(0, DType::kBFloat16, std::numeric_limits<size_t>::max());
}

}  // namespace ballast::bench
