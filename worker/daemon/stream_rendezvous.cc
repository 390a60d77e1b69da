#include "worker/daemon/stream_rendezvous.h"

#include "absl/strings/str_cat.h"

namespace ballast {

absl::Status StreamRendezvous::Put(const std::string& key, const std::string& value) {
  Arrived(key, value);  // ranks of this daemon need not wait for the relay
  send_(key, value);
  return absl::OkStatus();
}

absl::StatusOr<std::string> StreamRendezvous::Get(const std::string& key, Time deadline) {
  MutexLock lock(mutex_);
  while (true) {
    if (aborted_) return absl::AbortedError(reason_);
    auto value = values_.find(key);
    if (value != values_.end()) return value->second;
    if (!changed_.WaitUntil(mutex_, deadline) && !aborted_ && values_.count(key) == 0) {
      return absl::DeadlineExceededError(absl::StrCat("nobody has put \"", key, "\""));
    }
  }
}

void StreamRendezvous::Arrived(const std::string& key, const std::string& value) {
  MutexLock lock(mutex_);
  values_.emplace(key, value);
  changed_.SignalAll();
}

void StreamRendezvous::Abort(const std::string& reason) {
  {
    MutexLock lock(mutex_);
    if (aborted_) return;
    aborted_ = true;
    reason_ = reason;
    changed_.SignalAll();
  }
  aborted().Raise(reason);
}

}  // namespace ballast
