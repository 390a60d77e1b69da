// ExchangeTimes: how long exchanges took on the device, told to the peers that sent in them.
#pragma once

#include <cstddef>
#include <deque>
#include <vector>

#include "base/ids.h"
#include "worker/backend/cuda/cuda_marks.h"
#include "worker/comm/communicator.h"
#include "worker/comm/timed_messages.h"

namespace ballast {

// Of the rank's thread. Methods throw DeviceError.
class ExchangeTimes {
 public:
  explicit ExchangeTimes(int device) : marks_(device) {}

  // Around what is enqueued of an exchange.
  void Begin(kernels::Stream on) { marks_.SetOn(on); }
  // `together`: of an exchange that began together, the messages that say how long it took; others have none.
  void End(const std::vector<RecvOp>& recvs, PortMessages together, kernels::Stream on);

  // Adds the time of each exchange that has ended meanwhile to the receive_seconds of the peers that sent in
  // it. Waits for nothing.
  void Collect(std::vector<PeerStats>& peers);

 private:
  struct Exchange {
    size_t begin;  // its first mark
    std::vector<Rank> peers;
    PortMessages together;
  };
  CudaMarks marks_;
  std::deque<Exchange> under_way_;  // in the order of their marks
};

}  // namespace ballast
