// Rendezvous in one process.
#pragma once

#include <map>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/mutex.h"
#include "worker/comm/rendezvous.h"

namespace ballast {

class MemoryStore final : public RendezvousStore {
 public:
  absl::Status Put(const std::string& key, const std::string& value) override {
    MutexLock lock(mutex_);
    values_[key] = value;
    arrived_.SignalAll();
    return absl::OkStatus();
  }
  absl::StatusOr<std::string> Get(const std::string& key, Time deadline) override {
    MutexLock lock(mutex_);
    while (values_.count(key) == 0) {
      if (!reason_.empty()) return absl::AbortedError(reason_);
      if (!arrived_.WaitUntil(mutex_, deadline) && values_.count(key) == 0) {
        return absl::DeadlineExceededError(absl::StrCat("nobody has put \"", key, "\""));
      }
    }
    return values_[key];
  }
  void Abort(const std::string& reason) {
    {
      MutexLock lock(mutex_);
      reason_ = reason;
      arrived_.SignalAll();
    }
    aborted().Raise(reason);
  }
  std::map<std::string, std::string> values() {
    MutexLock lock(mutex_);
    return values_;
  }

 private:
  Mutex mutex_;
  CondVar arrived_;
  std::map<std::string, std::string> values_ GUARDED_BY(mutex_);
  std::string reason_ GUARDED_BY(mutex_);  // of Abort; empty before
};

}  // namespace ballast
