// RendezvousStore: how the ranks of one generation exchange the addresses they connect to.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/clock.h"
#include "worker/comm/abort_signal.h"

namespace ballast {

// Keys are written once. Called by rank threads, from several at once.
class RendezvousStore {
 public:
  virtual ~RendezvousStore() = default;
  virtual absl::Status Put(const std::string& key, const std::string& value) = 0;
  // Blocks until someone has put the key. DeadlineExceeded, naming the key; Aborted when the generation is
  // over.
  virtual absl::StatusOr<std::string> Get(const std::string& key, Time deadline) = 0;
  // Raised when the generation is over: for those who wait for a peer rather than for a value.
  AbortSignal& aborted() { return aborted_; }

 private:
  AbortSignal aborted_;
};

}  // namespace ballast
