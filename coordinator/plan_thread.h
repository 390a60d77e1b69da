// PlanThread: where plans are made that take long, so that the coordinator's driver goes on meanwhile.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <thread>

#include "base/mailbox.h"
#include "coordinator/events.h"

namespace ballast {

// One task after the other, in the order they came; a job has at most one that anybody waits for. Methods are
// one thread's.
class PlanThread {
 public:
  // `done` is called on the plan thread; false: not now, ask again soon.
  explicit PlanThread(std::function<bool(PlanMade)> done);
  ~PlanThread();
  PlanThread(const PlanThread&) = delete;
  PlanThread& operator=(const PlanThread&) = delete;

  // Never blocks. The thread starts with the first task.
  void Post(std::shared_ptr<const PlanTask> task);
  // Gives up what is being made, at its next layer, and what waits. Idempotent.
  void Stop();

 private:
  void Loop();

  const std::function<bool(PlanMade)> done_;
  Mailbox<std::shared_ptr<const PlanTask>> tasks_;
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

}  // namespace ballast
