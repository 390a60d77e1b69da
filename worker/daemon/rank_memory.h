// What a job needs of the memory of a daemon's ranks, before it starts. Pure.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "plan/job_config.h"
#include "plan/layout.h"
#include "plan/plan.h"
#include "worker/daemon/rank_device.h"
#include "worker/model/activation_memory.h"
#include "worker/optimizer/memory.h"

namespace ballast {

struct RankMemory {
  MemoryUse state;            // weights, optimizer state, transfers: exact
  ActivationUse activations;  // for routing within kRowsAllowance
  size_t checkpoints = 0;     // in the host's memory, what checkpoints are written from
  size_t retained = 0;        // in the host's memory, from a generation's end until the next one has begun
  size_t fixed = 0;           // of the device's libraries
  size_t on_device() const { return state.total() + activations.total() + fixed; }
  size_t in_host() const { return checkpoints + retained; }
  RankMemory& operator+=(const RankMemory& other);
};

// The most that `self`, one of `node_ranks` on its node, takes while it runs `plans` one after the other.
RankMemory RankMemoryOf(const JobConfig& job, const ParameterLayout& layout,
                        const std::vector<const PlanBody*>& plans, Rank self, int node_ranks,
                        const RankDevice& device);

// Whether the local ranks have memory for `plans`: what they need, as "needs 61.0 of 139.0 GiB: ..." for each
// device and for all of them on the host; or ResourceExhausted, with the figures and what to lower. On
// devices the host holds what checkpoints are written from and what is kept between two generations; without
// devices, everything.
absl::StatusOr<std::string> CheckRankMemory(const JobConfig& job, const ParameterLayout& layout,
                                            const std::vector<const PlanBody*>& plans,
                                            const std::vector<Rank>& local_ranks, const RankDevice& device,
                                            size_t host_bytes_max);

}  // namespace ballast
