// The threads that make slow plans: nobody waits for them, no plan is lost, and they end when they are told
// to.
#include "coordinator/plan_threads.h"

#include <gtest/gtest.h>

#include <algorithm>
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

TEST(PlanThreads, MakesPlansInOrderWhileTheCallerGoesOn) {
  Gate begun, may_go_on, all_done;
  std::vector<int64_t> steps;  // the plan thread's, until all_done
  PlanThreads threads(1, [&](PlanMade made) {
    begun.Open();
    may_go_on.Wait();
    EXPECT_TRUE(made.decision.ok() && made.decision->body.has_value());
    steps.push_back(made.look.step.value());
    if (steps.size() == 3) all_done.Open();
    return true;
  });
  threads.Post(TaskOf(1));
  begun.Wait();
  // The first plan does not get out of hand, and still these calls return.
  threads.Post(TaskOf(2));
  threads.Post(TaskOf(3));
  may_go_on.Open();
  all_done.Wait();
  threads.Stop();
  EXPECT_EQ(steps, (std::vector<int64_t>{1, 2, 3}));
}

TEST(PlanThreads, APlanThatCannotBeTakenNowIsOfferedAgain) {
  Gate taken;
  std::atomic<int> offers{0};
  PlanThreads threads(1, [&](PlanMade) {
    if (++offers < 3) return false;
    taken.Open();
    return true;
  });
  threads.Post(TaskOf(1));
  taken.Wait();
  EXPECT_EQ(offers, 3);
}

TEST(PlanThreads, EndsAlsoWhenNobodyTakesItsPlan) {
  Gate offered;
  std::atomic<int> made{0};
  PlanThreads threads(1, [&](PlanMade look) {
    if (look.look.step == Step(2)) ++made;
    offered.Open();
    return false;
  });
  threads.Post(TaskOf(1));
  threads.Post(TaskOf(2));
  offered.Wait();
  threads.Stop();
  EXPECT_EQ(made, 0) << "what waits is given up";
  threads.Post(TaskOf(3));
  threads.Stop();
}

TEST(PlanThreads, AJobDoesNotWaitForAnotherOnesPlan) {
  Gate second, first_begun, first_may_end;
  PlanThreads threads(2, [&](PlanMade made) {
    if (made.look.step == Step(1)) {
      first_begun.Open();
      first_may_end.Wait();
    } else {
      second.Open();
    }
    return true;
  });
  threads.Post(TaskOf(1));
  first_begun.Wait();
  threads.Post(TaskOf(2));
  second.Wait();
  first_may_end.Open();
}

TEST(PlanThreads, WhatIsGivenUpIsNotTold) {
  Gate offered, last;
  std::vector<int64_t> offers;  // the plan thread's, until `last`
  PlanThreads threads(1, [&](PlanMade made) {
    offers.push_back(made.look.step.value());
    if (made.look.step == Step(1)) offered.Open();
    if (made.look.step == Step(3)) last.Open();
    return made.look.step == Step(3);
  });
  const std::shared_ptr<const PlanTask> running = TaskOf(1), waiting = TaskOf(2);
  threads.Post(running);
  threads.Post(waiting);
  offered.Wait();
  // The first would be offered for ever, the second is yet to begin.
  threads.GiveUp(waiting->look());
  threads.GiveUp(running->look());
  threads.GiveUp(TaskOf(7)->look());
  threads.Post(TaskOf(3));
  last.Wait();
  threads.Stop();
  EXPECT_EQ(std::count(offers.begin(), offers.end(), 2), 0);
  EXPECT_EQ(offers.back(), 3);
}

}  // namespace
}  // namespace ballast
