// What can be said of messages of an exchange that begins together on all ranks
// (Communicator::NextBeginsTogether).
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/ids.h"
#include "plan/topology.h"
#include "worker/comm/communicator.h"

namespace ballast {

// Bytes that have come over `self`'s port when recvs[message] is there: its own, and of each other one on the
// same port as much, or all of it where it is smaller. A port shares itself evenly (processor sharing).
int64_t BytesBeside(const std::vector<RecvOp>& recvs, size_t message, Rank self, const Topology& topology);

// The messages that say how long the whole exchange took, where only its end is known: those from other
// nodes, which come over the slower port, or all where there are none. `bytes` is what they are in all.
struct PortMessages {
  std::vector<Rank> peers;
  int64_t bytes = 0;
};
PortMessages SlowestPort(const std::vector<RecvOp>& recvs, Rank self, const Topology& topology);

}  // namespace ballast
