// A plan's rollout in job "demo", at the places that a failpoint can name.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <future>

#include "tests/e2e/cluster.h"

namespace ballast {

// The job has completed `step`.
std::function<bool(const v1::JobStatus&)> AtStep(int64_t step);

// Until SIGSTOP has taken effect; false when `seconds` pass.
bool WaitUntilStill(pid_t pid, double seconds);

// Pushes plan 2 at step 12; whoever has a failpoint meets it. The answer may never come, or late.
std::future<bool> PushAtStep12(Cluster& cluster);

// How many of the first `workers` have logged that they began to run a pushed plan.
int SwitchedWorkers(Cluster& cluster, int workers);
// Until all have; false when `seconds` pass.
bool WaitUntilSwitched(Cluster& cluster, int workers, double seconds);

// Waits for the job's end, which must be a success.
v1::JobStatus EndOf(Cluster& cluster);
// The same after a request to stop.
v1::JobStatus StopAndEnd(Cluster& cluster);

}  // namespace ballast
