// A rank of this daemon on the CPU: Gloo between processes, the job's data files, the trainer.
#pragma once

#include "plan/layout.h"
#include "worker/daemon/generation_run.h"

namespace ballast {

struct CpuRankOptions {
  Duration rendezvous_timeout = Seconds(60);  // for all members to be connected
  Duration exchange_timeout = Seconds(300);   // of one collective, the waiting for slower ranks included
};

RankParts CpuRankParts(const CpuRankOptions& options);

// InvalidArgument when a local rank's transfer windows, which are fixed for the generation, are too small for
// `plans`; ResourceExhausted when the weights and optimizer state of all local ranks, while they run `plans`
// one after the other, need more than `bytes_max` at one time, with both figures. Activations are not
// counted. For SessionOptions::memory_check.
absl::Status CheckCpuMemory(const JobConfig& job, const ParameterLayout& layout,
                            const std::vector<const PlanBody*>& plans, const std::vector<Rank>& local_ranks,
                            size_t bytes_max);

}  // namespace ballast
