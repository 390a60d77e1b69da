#include "tests/e2e/rollout.h"

#include <gtest/gtest.h>

#include <chrono>
#include <fstream>
#include <thread>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/e2e/plan_edits.h"

namespace ballast {
namespace {

bool StandsStill(pid_t pid) {
  std::ifstream stat(absl::StrCat("/proc/", pid, "/stat"));
  std::string number, name, state;
  stat >> number >> name >> state;
  return state == "T";
}

bool Within(double seconds, const std::function<bool()>& holds) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  while (!holds()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return true;
}

}  // namespace

std::function<bool(const v1::JobStatus&)> AtStep(int64_t step) {
  return [step](const v1::JobStatus& job) { return job.step() >= step; };
}

bool WaitUntilStill(pid_t pid, double seconds) {
  return Within(seconds, [pid] { return StandsStill(pid); });
}

std::future<bool> PushAtStep12(Cluster& cluster) {
  EXPECT_TRUE(cluster.WaitForJob("demo", 60, AtStep(12)));
  const absl::StatusOr<v1::GetPlanResponse> first = cluster.Plan("demo");
  EXPECT_TRUE(first.ok()) << first.status();
  return std::async(std::launch::async, [&cluster, next = RotateExperts(first->plan())] {
    return cluster.Push("demo", next).ok();
  });
}

int SwitchedWorkers(Cluster& cluster, int workers) {
  int switched = 0;
  for (int i = 0; i < workers; ++i)
    switched += absl::StrContains(cluster.worker(i).Output(), "event=\"plan active\" job=demo") ? 1 : 0;
  return switched;
}

bool WaitUntilSwitched(Cluster& cluster, int workers, double seconds) {
  return Within(seconds, [&] { return SwitchedWorkers(cluster, workers) == workers; });
}

v1::JobStatus EndOf(Cluster& cluster) {
  EXPECT_TRUE(cluster.WaitForJob("demo", 120, IsFinal));
  absl::StatusOr<v1::JobStatus> status = cluster.Job("demo");
  EXPECT_TRUE(status.ok()) << status.status();
  EXPECT_EQ(status->state(), v1::JOB_STATE_SUCCEEDED) << status->reason();
  return *std::move(status);
}

v1::JobStatus StopAndEnd(Cluster& cluster) {
  v1::StopJobRequest stop;
  v1::StopJobResponse stopping;
  stop.set_name("demo");
  EXPECT_TRUE(cluster.control().StopJob(Cluster::Within(10).get(), stop, &stopping).ok());
  return EndOf(cluster);
}

}  // namespace ballast
