// RankDevice: where a daemon's ranks compute and how they meet, behind one face for every kind of device.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/backend/backend.h"
#include "worker/backend/plugin.h"
#include "worker/daemon/generation_run.h"

namespace ballast {

struct RankDevice {
  // Of the rank `local_rank` of this daemon; called by its thread.
  std::function<absl::StatusOr<std::unique_ptr<Backend>>(int local_rank, DType compute)> make_backend;
  // Blocks until all ranks of the generation are connected.
  std::function<absl::StatusOr<std::unique_ptr<Communicator>>(const RankContext& context,
                                                              RendezvousStore& rendezvous, Time deadline)>
      connect;
  // Compute types its backends have.
  std::vector<DType> compute_types;
  // Bytes for each rank on a device of its own; empty: the ranks share the host's memory.
  std::vector<size_t> bytes_by_rank;
  // Its backends' AttentionSavedBytes, and what its libraries take of a rank's memory, before there is one.
  std::function<size_t(const AttentionShape& shape, DType compute)> attention_saved_bytes;
  size_t fixed_bytes = 0;
  // A rank's training has ended with an error: logs what its libraries know of it. Returns at once, from any
  // thread. Null: they know nothing.
  std::function<void()> on_failure = nullptr;
};

// The CPU backend, and Gloo between processes.
RankDevice CpuDevice();

// Local rank i on the CUDA device devices[i], and NCCL between processes. `bytes_max` bounds the memory of
// each; 0 = all of it. The plug-in's own errors.
absl::StatusOr<RankDevice> CudaDevice(DevicePlugin& plugin, const std::vector<int>& devices,
                                      size_t bytes_max);

}  // namespace ballast
