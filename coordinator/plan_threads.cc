#include "coordinator/plan_threads.h"

#include <chrono>
#include <utility>

#include "base/clock.h"

namespace ballast {
namespace {

constexpr std::chrono::milliseconds kAskAgain(100);

}  // namespace

PlanThreads::PlanThreads(int threads, std::function<bool(PlanMade)> done)
    : thread_count_(threads), done_(std::move(done)) {}

PlanThreads::~PlanThreads() { Stop(); }

void PlanThreads::Post(std::shared_ptr<const PlanTask> task) {
  MutexLock lock(mutex_);
  if (stopping_) return;
  waiting_.push_back(std::make_shared<Work>(std::move(task)));
  changed_.Signal();
  while (static_cast<int>(threads_.size()) < thread_count_) threads_.emplace_back([this] { Loop(); });
}

void PlanThreads::GiveUp(const LookId& look) {
  MutexLock lock(mutex_);
  std::erase_if(waiting_, [&](const WorkPtr& work) { return work->task->look() == look; });
  for (const WorkPtr& work : running_) {
    if (work->task->look() == look) work->given_up = true;
  }
}

void PlanThreads::Stop() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    waiting_.clear();
    for (const WorkPtr& work : running_) work->given_up = true;
    changed_.SignalAll();
  }
  for (std::thread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
}

void PlanThreads::Loop() {
  while (const WorkPtr work = Take()) {
    Make(*work);
    MutexLock lock(mutex_);
    running_.erase(work);
  }
}

PlanThreads::WorkPtr PlanThreads::Take() {
  MutexLock lock(mutex_);
  while (waiting_.empty() && !stopping_) changed_.Wait(mutex_);
  if (stopping_) return nullptr;
  WorkPtr work = std::move(waiting_.front());
  waiting_.pop_front();
  running_.insert(work);
  return work;
}

void PlanThreads::Make(Work& work) {
  const Time begin = SteadyClock().Now();
  PlanMade made{work.task->look(), work.task->Run([&work] { return work.given_up.load(); })};
  made.seconds = ToSeconds(SteadyClock().Now() - begin);
  while (!work.given_up.load() && !done_(made)) std::this_thread::sleep_for(kAskAgain);
}

}  // namespace ballast
