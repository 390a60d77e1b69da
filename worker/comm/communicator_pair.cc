#include "worker/comm/communicator_pair.h"

#include "base/check.h"

namespace ballast {

CommunicatorPair::CommunicatorPair(std::unique_ptr<Communicator> main, std::unique_ptr<Communicator> refresh)
    : main_(std::move(main)), refresh_(std::move(refresh)) {
  BALLAST_CHECK(main_->rank() == refresh_->rank() && main_->size() == refresh_->size());
}

void CommunicatorPair::Abort(const std::string& reason) {
  main_->Abort(reason);
  refresh_->Abort(reason);
}

CommStats CommunicatorPair::stats() const {
  CommStats sum = main_->stats();
  const CommStats refresh = refresh_->stats();
  sum.operations += refresh.operations;
  sum.messages_sent += refresh.messages_sent;
  sum.bytes_sent += refresh.bytes_sent;
  sum.wait_seconds += refresh.wait_seconds;
  return sum;
}

const std::vector<PeerStats>& CommunicatorPair::peers() const {
  peers_ = main_->peers();
  const std::vector<PeerStats>& refresh = refresh_->peers();
  for (size_t peer = 0; peer < peers_.size(); ++peer) {
    peers_[peer].bytes_sent += refresh[peer].bytes_sent;
    peers_[peer].bytes_received += refresh[peer].bytes_received;
    peers_[peer].receive_seconds += refresh[peer].receive_seconds;
  }
  return peers_;
}

}  // namespace ballast
