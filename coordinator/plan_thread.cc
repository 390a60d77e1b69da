#include "coordinator/plan_thread.h"

#include <utility>

#include "base/clock.h"
#include "base/log.h"

namespace ballast {
namespace {

// Jobs are far fewer.
constexpr size_t kTasksMax = 1 << 16;
const Duration kAskAgain = Seconds(0.1);

}  // namespace

PlanThread::PlanThread(std::function<bool(PlanMade)> done) : done_(std::move(done)), tasks_(kTasksMax) {}

PlanThread::~PlanThread() { Stop(); }

void PlanThread::Post(std::shared_ptr<const PlanTask> task) {
  if (stopping_.load()) return;
  if (!thread_.joinable()) thread_ = std::thread([this] { Loop(); });
  if (!tasks_.Post(std::move(task))) {
    Log(LogLevel::kError, "too many plans are asked for at once: one is not made", {});
  }
}

void PlanThread::Stop() {
  stopping_ = true;
  tasks_.Close();
  if (thread_.joinable()) thread_.join();
}

void PlanThread::Loop() {
  while (!stopping_.load()) {
    std::optional<std::shared_ptr<const PlanTask>> task =
        tasks_.TakeUntil(SteadyClock().Now() + Seconds(3600));
    if (!task.has_value()) continue;
    const Time begin = SteadyClock().Now();
    PlanMade made{(*task)->look(), (*task)->Run([this] { return stopping_.load(); })};
    made.seconds = ToSeconds(SteadyClock().Now() - begin);
    while (!stopping_.load() && !done_(made)) std::this_thread::sleep_for(kAskAgain);
  }
}

}  // namespace ballast
