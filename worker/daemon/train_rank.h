// A rank of this daemon: the job's data files, the model and the trainer on the rank's device.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "plan/layout.h"
#include "worker/daemon/generation_run.h"
#include "worker/daemon/rank_device.h"

namespace ballast {

struct RankOptions {
  Duration rendezvous_timeout = Seconds(60);  // for all members to be connected
  Duration exchange_timeout = Seconds(300);   // of one collective, the waiting for slower ranks included
  // A device failed under a rank, which ends with an error of the same text. The device is not to be used
  // again by this process, so the process should end once the coordinator knows. From the rank's thread; may
  // be null.
  std::function<void(const std::string& what)> on_device_error;
};

RankParts MakeRankParts(const RankOptions& options, const RankDevice& device);

// Whether this daemon can train `job`: InvalidArgument for a compute type that the device does not have, and
// when a local rank's transfer windows, which are fixed for the generation, are too small for `plans`;
// ResourceExhausted, with the figures and what to lower, when the local ranks, while they run `plans` one
// after the other, need more memory at one time than there is: `host_bytes_max` for all of them together, or
// each rank's own device. Otherwise what they need, in words. For SessionOptions::memory_check.
absl::StatusOr<std::string> CheckRanks(const JobConfig& job, const ParameterLayout& layout,
                                       const std::vector<const PlanBody*>& plans,
                                       const std::vector<Rank>& local_ranks, const RankDevice& device,
                                       size_t host_bytes_max);

}  // namespace ballast
