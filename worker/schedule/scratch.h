// AllToAllScratch: the wire buffers of all-to-alls, kept from call to call so that a step allocates nothing
// once it has seen its largest exchange.
#pragma once

#include <cstddef>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/backend/backend.h"

namespace ballast {

// Used by one thread, in one exchange at a time.
class AllToAllScratch {
 public:
  explicit AllToAllScratch(Backend& backend) : backend_(backend) {}

  // Buffer number `index` with at least `bytes` bytes. Its content is lost when it grows; other indices stay
  // as they are.
  absl::StatusOr<char*> Get(int index, size_t bytes);

 private:
  Backend& backend_;
  std::vector<Buffer> buffers_;
};

}  // namespace ballast
