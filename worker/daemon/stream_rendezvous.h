// The rendezvous of one generation over the coordinator's stream: what a rank puts, the coordinator relays to
// all members.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "base/mutex.h"
#include "worker/comm/rendezvous.h"

namespace ballast {

// All methods may be called from any thread.
class StreamRendezvous final : public RendezvousStore {
 public:
  // `send` takes a value to the coordinator; it must not block.
  using SendPut = std::function<void(const std::string& key, const std::string& value)>;
  explicit StreamRendezvous(SendPut send) : send_(std::move(send)) {}

  absl::Status Put(const std::string& key, const std::string& value) override EXCLUDES(mutex_);
  absl::StatusOr<std::string> Get(const std::string& key, Time deadline) override EXCLUDES(mutex_);

  // A value came from the coordinator; the first value of a key stays.
  void Arrived(const std::string& key, const std::string& value) EXCLUDES(mutex_);
  // The generation is over: every Get ends now, and every later one at once; so does a wait for a peer
  // that connects.
  void Abort(const std::string& reason) EXCLUDES(mutex_);

 private:
  const SendPut send_;
  Mutex mutex_;
  CondVar changed_;
  std::map<std::string, std::string> values_ GUARDED_BY(mutex_);
  bool aborted_ GUARDED_BY(mutex_) = false;
  std::string reason_ GUARDED_BY(mutex_);
};

}  // namespace ballast
