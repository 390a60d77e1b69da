// Proof, before a job trains, that every worker sees one and the same checkpoint.path.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "base/clock.h"
#include "protocol/messages.h"
#include "worker/comm/rendezvous.h"

namespace ballast {

// Called by every rank of `assign`, whose job has a checkpoint.path. Rank 0 writes a token, a file with its
// process's random incarnation; every other rank reads it. Rank 0 also refuses a folder in which another run
// has left checkpoints of this generation or a later one. FailedPrecondition names the path, the worker and
// what to do; otherwise the rendezvous' errors.
absl::Status ProveSharedPath(const Assign& assign, Rank self, RendezvousStore& rendezvous, Time deadline);

}  // namespace ballast
