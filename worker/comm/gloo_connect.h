// The part of the Gloo communicator that makes its mesh.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "worker/comm/gloo_communicator.h"

namespace gloo {
class Context;
}

namespace ballast {

// Null context for one rank, which has nobody to connect to.
absl::StatusOr<std::shared_ptr<gloo::Context>> ConnectGlooMesh(const GlooOptions& options,
                                                               RendezvousStore& store);

}  // namespace ballast
