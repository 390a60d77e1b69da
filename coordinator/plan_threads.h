// PlanThreads: where plans are made that take long, so that the coordinator's driver goes on meanwhile.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <set>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "coordinator/events.h"

namespace ballast {

// Tasks begin in the order they came, as many at once as there are threads, so that a large job's look does
// not hold up all others. Post, GiveUp and Stop are one thread's.
class PlanThreads {
 public:
  // `done` is called on plan threads, by several at once; false: not now, ask again soon.
  PlanThreads(int threads, std::function<bool(PlanMade)> done);
  ~PlanThreads();
  PlanThreads(const PlanThreads&) = delete;
  PlanThreads& operator=(const PlanThreads&) = delete;

  // Never blocks. The threads start with the first task.
  void Post(std::shared_ptr<const PlanTask> task) EXCLUDES(mutex_);
  // Nobody waits for it any more: it ends at its next layer or does not begin, and `done` is not called
  // unless it is being called now. Never blocks.
  void GiveUp(const LookId& look) EXCLUDES(mutex_);
  // Gives up everything and waits until the threads have ended. Idempotent.
  void Stop() EXCLUDES(mutex_);

 private:
  struct Work {
    explicit Work(std::shared_ptr<const PlanTask> t) : task(std::move(t)) {}
    const std::shared_ptr<const PlanTask> task;
    std::atomic<bool> given_up{false};
  };
  using WorkPtr = std::shared_ptr<Work>;

  void Loop() EXCLUDES(mutex_);
  WorkPtr Take() EXCLUDES(mutex_);  // null: the thread ends
  void Make(Work& work);

  const int thread_count_;
  const std::function<bool(PlanMade)> done_;
  Mutex mutex_;
  CondVar changed_;
  std::deque<WorkPtr> waiting_ GUARDED_BY(mutex_);
  std::set<WorkPtr> running_ GUARDED_BY(mutex_);
  bool stopping_ GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;
};

}  // namespace ballast
