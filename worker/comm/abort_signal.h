// AbortSignal: tells those who wait somewhere else that it is over.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <utility>

#include "base/mutex.h"

namespace ballast {

// All methods may be called from any thread.
class AbortSignal {
 public:
  using Wake = std::function<void(const std::string& reason)>;

  // Calls every watcher; the first reason stays.
  void Raise(const std::string& reason) EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    if (raised_) return;
    raised_ = true;
    reason_ = reason;
    for (const auto& [id, wake] : watchers_) wake(reason_);
  }

  // Watches as long as it lives. `wake` is called once, at once if the signal was raised before; it must not
  // wait for anybody nor use the signal. When the watch is destroyed, no call is under way any more.
  class Watch {
   public:
    Watch(AbortSignal& signal, Wake wake) : signal_(signal), id_(signal.Add(std::move(wake))) {}
    ~Watch() { signal_.Remove(id_); }
    Watch(const Watch&) = delete;
    Watch& operator=(const Watch&) = delete;

   private:
    AbortSignal& signal_;
    const int id_;
  };

 private:
  int Add(Wake wake) EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    if (raised_) wake(reason_);
    watchers_.emplace(++last_id_, std::move(wake));
    return last_id_;
  }
  void Remove(int id) EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    watchers_.erase(id);
  }

  Mutex mutex_;
  bool raised_ GUARDED_BY(mutex_) = false;
  std::string reason_ GUARDED_BY(mutex_);
  int last_id_ GUARDED_BY(mutex_) = 0;
  std::map<int, Wake> watchers_ GUARDED_BY(mutex_);
};

}  // namespace ballast
