// The wall clock of every daemon jumps an hour forward and back again under a running job: nobody is taken
// for dead, nothing is lost, and the log says what happened.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/e2e/cluster.h"
#include "tests/e2e/elastic_job.h"
#include "tests/e2e/plan_edits.h"
#include "tests/e2e/rollout.h"

namespace ballast {
namespace {

class WallClock {
 public:
  explicit WallClock(std::string path) : path_(std::move(path)) { Shift(0); }
  void Shift(int64_t seconds) const {
    const int file = open(path_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    EXPECT_GE(file, 0);
    EXPECT_EQ(pwrite(file, &seconds, sizeof seconds, 0), static_cast<ssize_t>(sizeof seconds));
    close(file);
  }

 private:
  const std::string path_;
};

TEST(WallClock, JumpsByAnHourAndNothingHappens) {
  Cluster cluster;
  const std::string file = cluster.dir() / "offset";
  const WallClock clock(file);
  cluster.SetPrefix({"/usr/bin/env", absl::StrCat("LD_PRELOAD=", BALLAST_WALL_CLOCK_SHIM),
                     absl::StrCat("WALL_CLOCK_OFFSET_FILE=", file)});
  cluster.StartCoordinator();
  cluster.StartWorkers(3);
  ASSERT_TRUE(cluster.WaitForWorkers(3, 20));
  JobConfig job = ElasticJob(cluster, 2, 3, 120);
  ASSERT_TRUE(cluster.Submit(job).ok());
  ASSERT_TRUE(cluster.WaitForJob("demo", 60, AtStep(12)));

  const auto push_and_go_on = [&](int64_t version) {
    const absl::StatusOr<v1::GetPlanResponse> plan = cluster.Plan("demo");
    ASSERT_TRUE(plan.ok()) << plan.status();
    ASSERT_TRUE(cluster.Push("demo", RotateExperts(plan->plan())).ok());
    ASSERT_TRUE(cluster.WaitForPlan("demo", version, v1::PLAN_STATE_ACTIVE, 30));
    const int64_t step = cluster.Job("demo")->step();
    ASSERT_TRUE(cluster.WaitForJob("demo", 30, AtStep(step + 12))) << "past a checkpoint";
  };
  clock.Shift(3600);
  push_and_go_on(2);
  clock.Shift(0);
  push_and_go_on(3);

  ASSERT_TRUE(cluster.WaitForJob("demo", 120, IsFinal));
  const v1::JobStatus status = cluster.Job("demo").value();
  EXPECT_EQ(status.state(), v1::JOB_STATE_SUCCEEDED) << status.reason();
  EXPECT_EQ(status.generation(), 1);
  EXPECT_EQ(status.recent_steps_size(), 120);
  ExpectUndisturbed(cluster, job, status);

  int64_t before = 0;
  for (const v1::LoggedEvent& event : Events(cluster)) {
    EXPECT_EQ(event.number(), before + 1) << "every event is there, in the order of what happened";
    EXPECT_NE(event.kind(), v1::EVENT_KIND_RECOVERY) << event.text();
    EXPECT_TRUE(event.kind() != v1::EVENT_KIND_ALARM || TellsOfSpeed(event)) << event.text();
    EXPECT_FALSE(absl::StrContains(event.text(), "detached")) << event.text();
    before = event.number();
  }
  const std::string log = cluster.coordinator().Output();
  EXPECT_TRUE(absl::StrContains(log, "the wall clock was set")) << log;
}

}  // namespace
}  // namespace ballast
