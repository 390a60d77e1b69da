// The communicator between CUDA devices: grouped sends and receives of NCCL.
//
// Buffers are device memory, or host memory, which is staged. Operations run on the CUDA stream they are
// given, in the order in which they were enqueued. NCCL raises no error when a peer over NVLink has died:
// only the deadline, or Abort() by whoever learns it otherwise, ends such a wait.
// After that the communicator is dead; the device is not, unless a transfer itself has failed on it.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "worker/backend/plugin.h"
#include "worker/comm/communicator.h"
#include "worker/comm/rendezvous.h"

namespace ballast {

// Blocks until all ranks have joined: rank 0 puts NCCL's id into the store, the others take it from there.
// DeadlineExceeded when they have not in time; FailedPrecondition for ranks with different versions of NCCL
// or two ranks on one device; Unavailable for what else NCCL reports; the store's own errors as they are.
// NVLink multicast stays off.
absl::StatusOr<std::unique_ptr<Communicator>> ConnectNccl(const DeviceCommunicatorOptions& options,
                                                          RendezvousStore& store);

}  // namespace ballast
