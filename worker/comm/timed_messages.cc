#include "worker/comm/timed_messages.h"

#include <algorithm>

namespace ballast {
namespace {

bool SharesNode(Rank a, Rank b, const Topology& topology) { return topology.node(a) == topology.node(b); }

}  // namespace

int64_t BytesBeside(const std::vector<RecvOp>& recvs, size_t message, Rank self, const Topology& topology) {
  const bool inside = SharesNode(recvs[message].from, self, topology);
  size_t bytes = 0;
  for (const RecvOp& other : recvs) {
    if (other.from == self || SharesNode(other.from, self, topology) != inside) continue;
    bytes += std::min(other.bytes, recvs[message].bytes);
  }
  return static_cast<int64_t>(bytes);
}

PortMessages SlowestPort(const std::vector<RecvOp>& recvs, Rank self, const Topology& topology) {
  PortMessages inside, between;
  for (const RecvOp& recv : recvs) {
    if (recv.from == self || recv.bytes == 0) continue;
    PortMessages& port = SharesNode(recv.from, self, topology) ? inside : between;
    port.peers.push_back(recv.from);
    port.bytes += static_cast<int64_t>(recv.bytes);
  }
  return between.peers.empty() ? inside : between;
}

}  // namespace ballast
