// ThreadCommunicatorGroup: N communicators in one process, one per rank thread; for tests and for one-process
// runs.
//
// Sends are copied when they are enqueued, so a rank never waits for its receivers. What one rank sees when
// another one aborts or dies is what TCP would show it: messages sent before still arrive, then the peer is
// lost.
#pragma once

#include <memory>
#include <string>

#include "base/ids.h"
#include "worker/comm/communicator.h"

namespace ballast {

class ThreadCommunicatorGroup {
 public:
  // Communicators may outlive the group object.
  explicit ThreadCommunicatorGroup(int ranks);

  // The communicator of `rank`; call once per rank. Destroying it is, for its peers, the same as losing it.
  std::unique_ptr<Communicator> Take(Rank rank);

  // Emulates the death of a rank: its own operations end with Aborted, its peers lose it. From any thread.
  void Kill(Rank rank);

  // Messages and bytes that `from` has sent to `to` so far; from any thread.
  CommStats PairStats(Rank from, Rank to) const;

  class Shared;  // the state that the ranks share

 private:
  std::shared_ptr<Shared> shared_;
};

}  // namespace ballast
