// The backend that a benchmark of one operation runs on.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "worker/backend/backend.h"

namespace ballast::bench {

// Of bfloat16, without a memory bound: "cpu", or "cuda", the machine's first device. An error says what is
// missing.
absl::StatusOr<std::unique_ptr<Backend>> MakeBenchBackend(const std::string& device);

}  // namespace ballast::bench
