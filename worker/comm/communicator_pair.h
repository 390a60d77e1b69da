// CommunicatorPair: a communicator with a second one for weights and optimizer states.
//
// Between devices the second one's transfers get few of the device's thread blocks, so that they leave the
// rest to products. All ranks enqueue the operations of both in one order, and one at a time is under way.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "worker/comm/communicator.h"

namespace ballast {

// Of the same ranks.
class CommunicatorPair final : public Communicator {
 public:
  CommunicatorPair(std::unique_ptr<Communicator> main, std::unique_ptr<Communicator> refresh);

  Rank rank() const override { return main_->rank(); }
  int size() const override { return main_->size(); }
  std::unique_ptr<Pending> Exchange(Stream& stream, std::vector<SendOp> sends,
                                    std::vector<RecvOp> recvs) override {
    return main_->Exchange(stream, std::move(sends), std::move(recvs));
  }
  absl::Status Wait(Pending& pending, Time deadline) override { return main_->Wait(pending, deadline); }
  absl::Status Follow(Pending& pending, Time deadline) override { return main_->Follow(pending, deadline); }
  absl::Status Drain(Stream& stream, Time deadline) override { return main_->Drain(stream, deadline); }
  void NextBeginsTogether(const Topology& topology) override { main_->NextBeginsTogether(topology); }
  Communicator& refresh() override { return *refresh_; }
  // Of both.
  void Abort(const std::string& reason) override;
  CommStats stats() const override;
  const std::vector<PeerStats>& peers() const override;

 private:
  const std::unique_ptr<Communicator> main_, refresh_;
  mutable std::vector<PeerStats> peers_;  // made anew by peers()
};

}  // namespace ballast
