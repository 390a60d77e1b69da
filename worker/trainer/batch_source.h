// BatchSource: the tokens of every step, a function of (seed, step) and never of the number of ranks.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/ids.h"
#include "worker/model/gpt_moe.h"

namespace ballast {

// Const methods may be called from any thread.
class BatchSource {
 public:
  virtual ~BatchSource() = default;

  // Sequences [first, first + count) of the global batch of `step`.
  virtual absl::StatusOr<Microbatch> Training(Step step, int64_t first, int64_t count) const = 0;
  // Sequences [first, first + count) of source number `source`'s held-out data, the same at every evaluation.
  virtual absl::StatusOr<Microbatch> HeldOut(int source, int64_t first, int64_t count) const = 0;
  // Names of the sources.
  virtual const std::vector<std::string>& sources() const = 0;
};

}  // namespace ballast
