#include "worker/comm/nccl/exchange_times.h"

#include <utility>

namespace ballast {

void ExchangeTimes::End(const std::vector<RecvOp>& recvs, kernels::Stream on) {
  marks_.SetOn(on);
  Exchange exchange{.begin = marks_.count() - 2, .peers = {}};
  for (const RecvOp& recv : recvs) exchange.peers.push_back(recv.from);
  under_way_.push_back(std::move(exchange));
}

void ExchangeTimes::Collect(std::vector<PeerStats>& peers) {
  while (!under_way_.empty() && marks_.Passed(under_way_.front().begin + 1)) {
    const Exchange& ended = under_way_.front();
    const double seconds = marks_.Seconds(ended.begin, ended.begin + 1);
    for (Rank peer : ended.peers) peers[peer.index()].receive_seconds += seconds;
    under_way_.pop_front();
  }
  if (under_way_.empty()) marks_.Clear();
}

}  // namespace ballast
