#include <span>

#include "base/check.h"
#include "worker/model/init.h"
#include "worker/trainer/parts.h"

namespace ballast {

Optimizer::FillState InitialWeights(const JobConfig& job, const ParameterLayout& layout,
                                    const Backend& backend) {
  const bool wide = backend.master_bytes() == sizeof(double);
  BALLAST_CHECK(wide || backend.master_bytes() == sizeof(float))
      << backend.master_bytes() << " bytes per master";
  return [&job, &layout, wide](BlockId block, void* state) {
    const auto elements = static_cast<size_t>(layout.block(block).elements);
    if (wide) {
      FillInitial(layout, job.model, job.training.seed, block,
                  std::span(static_cast<double*>(state), elements));
    } else {
      FillInitial(layout, job.model, job.training.seed, block,
                  std::span(static_cast<float*>(state), elements));
    }
    return absl::OkStatus();  // moments stay zero
  };
}

}  // namespace ballast
