// The thread that makes slow plans: nobody waits for it, no plan is lost, and it ends when it is told to.
#include "coordinator/plan_thread.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <vector>

#include "base/mutex.h"
#include "tests/planner/loop.h"

namespace ballast {
namespace {

class Gate {
 public:
  void Open() {
    MutexLock lock(mutex_);
    open_ = true;
    changed_.SignalAll();
  }
  void Wait() {
    MutexLock lock(mutex_);
    while (!open_) changed_.Wait(mutex_);
  }

 private:
  Mutex mutex_;
  CondVar changed_;
  bool open_ GUARDED_BY(mutex_) = false;
};

std::shared_ptr<const PlanTask> TaskOf(int64_t step) {
  JobConfig job = testing::SmallJob(2, 8, 3);
  job.planner.strategy = "splitpack";
  testing::Loop loop(job, 4);
  for (int s = 0; s < 30; ++s) loop.Run({{9, 4, 2, 1, 1, 1, 1, 1}, {1, 1, 1, 1, 1, 2, 4, 9}}, /*look=*/false);
  return std::make_shared<const PlanTask>(
      LookId{{Term(1), JobId("job"), Generation(1)}, PlanVersion(1), Step(step)}, loop.Input());
}

TEST(PlanThread, MakesPlansInOrderWhileTheCallerGoesOn) {
  Gate begun, may_go_on, all_done;
  std::vector<int64_t> steps;  // the plan thread's, until all_done
  PlanThread thread([&](PlanMade made) {
    begun.Open();
    may_go_on.Wait();
    EXPECT_TRUE(made.decision.ok() && made.decision->body.has_value());
    steps.push_back(made.look.step.value());
    if (steps.size() == 3) all_done.Open();
    return true;
  });
  thread.Post(TaskOf(1));
  begun.Wait();
  // The first plan does not get out of hand, and still these calls return.
  thread.Post(TaskOf(2));
  thread.Post(TaskOf(3));
  may_go_on.Open();
  all_done.Wait();
  thread.Stop();
  EXPECT_EQ(steps, (std::vector<int64_t>{1, 2, 3}));
}

TEST(PlanThread, APlanThatCannotBeTakenNowIsOfferedAgain) {
  Gate taken;
  std::atomic<int> offers{0};
  PlanThread thread([&](PlanMade) {
    if (++offers < 3) return false;
    taken.Open();
    return true;
  });
  thread.Post(TaskOf(1));
  taken.Wait();
  EXPECT_EQ(offers, 3);
}

TEST(PlanThread, EndsAlsoWhenNobodyTakesItsPlan) {
  Gate offered;
  std::atomic<int> made{0};
  PlanThread thread([&](PlanMade look) {
    if (look.look.step == Step(2)) ++made;
    offered.Open();
    return false;
  });
  thread.Post(TaskOf(1));
  thread.Post(TaskOf(2));
  offered.Wait();
  thread.Stop();
  EXPECT_EQ(made, 0) << "what waits is given up";
  thread.Post(TaskOf(3));
  thread.Stop();
}

}  // namespace
}  // namespace ballast
