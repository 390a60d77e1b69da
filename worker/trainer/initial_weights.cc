#include <span>

#include "base/check.h"
#include "worker/model/init.h"
#include "worker/trainer/parts.h"

namespace ballast {

Optimizer::FillMaster InitialWeights(const JobConfig& job, const ParameterLayout& layout,
                                     const Backend& backend) {
  const bool wide = backend.master_bytes() == sizeof(double);
  BALLAST_CHECK(wide || backend.master_bytes() == sizeof(float))
      << backend.master_bytes() << " bytes per master";
  return [&job, &layout, wide](BlockId block, void* master) {
    const auto elements = static_cast<size_t>(layout.block(block).elements);
    if (wide) {
      FillInitial(layout, job.model, job.training.seed, block,
                  std::span(static_cast<double*>(master), elements));
    } else {
      FillInitial(layout, job.model, job.training.seed, block,
                  std::span(static_cast<float*>(master), elements));
    }
  };
}

}  // namespace ballast
