#include "worker/comm/nccl/exchange_times.h"

#include <utility>

namespace ballast {

void ExchangeTimes::End(const std::vector<RecvOp>& recvs, PortMessages together, kernels::Stream on) {
  marks_.SetOn(on);
  Exchange exchange{.begin = marks_.count() - 2, .peers = {}, .together = std::move(together)};
  for (const RecvOp& recv : recvs) exchange.peers.push_back(recv.from);
  under_way_.push_back(std::move(exchange));
}

void ExchangeTimes::Collect(std::vector<PeerStats>& peers) {
  while (!under_way_.empty() && marks_.Passed(under_way_.front().begin + 1)) {
    const Exchange& ended = under_way_.front();
    const double seconds = marks_.Seconds(ended.begin, ended.begin + 1);
    for (Rank peer : ended.peers) peers[peer.index()].receive_seconds += seconds;
    for (Rank peer : ended.together.peers) {
      PeerStats& timed = peers[peer.index()];
      ++timed.timed_messages;
      timed.timed_bytes += ended.together.bytes;
      timed.timed_seconds += seconds;
    }
    under_way_.pop_front();
  }
  if (under_way_.empty()) marks_.Clear();
}

}  // namespace ballast
