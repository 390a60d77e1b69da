// Leaving together.
#pragma once

#include "absl/status/status.h"
#include "worker/comm/communicator.h"

namespace ballast {

// Returns when every rank has finished all earlier operations, so that closing the connections loses nobody's
// data. Call it last; the communicator must only be destroyed afterwards.
absl::Status Farewell(Communicator& communicator, Stream& stream, Time deadline);

}  // namespace ballast
