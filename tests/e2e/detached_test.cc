// The daemon of rank 0 loses the coordinator: it is shown as unobserved, the others are heard, and nothing
// that it had to say is lost.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/e2e/cluster.h"
#include "tests/e2e/plan_edits.h"
#include "tests/e2e/proxy.h"
#include "tests/e2e/reference_run.h"

namespace ballast {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

auto AtStep(int64_t step) {
  return [step](const v1::JobStatus& job) { return job.step() >= step; };
}

// What the job's event log says of its members behind the first assignment, in the order of time.
std::vector<std::string> MemberEvents(Cluster& cluster) {
  v1::ListEventsRequest request;
  v1::ListEventsResponse response;
  request.set_job("demo");
  EXPECT_TRUE(cluster.control().ListEvents(Cluster::Within(10).get(), request, &response).ok());
  std::vector<std::string> texts;
  for (const v1::LoggedEvent& event : response.events())
    if (event.kind() == v1::EVENT_KIND_MEMBER && !absl::StartsWith(event.text(), "generation 1: "))
      texts.push_back(event.text());
  return texts;
}

// They are told when the coordinator looks at the members next, so up to some steps later.
bool WaitForMemberEvents(Cluster& cluster, size_t count) {
  return cluster.WaitForJob("demo", 10,
                            [&](const v1::JobStatus&) { return MemberEvents(cluster).size() >= count; });
}

// The workers that are not attached, all of which still belong to the job.
std::vector<std::string> Detached(Cluster& cluster) {
  std::vector<std::string> names;
  for (const v1::WorkerStatus& worker : cluster.Workers()) {
    EXPECT_EQ(worker.job(), "demo") << worker.ShortDebugString();
    if (!worker.attached()) names.push_back(worker.name());
  }
  return names;
}

// What `ballastctl job watch -o json` has shown so far: step -> loss; fails on a step that is shown twice.
std::map<int64_t, double> Watched(const Process& watch) {
  std::map<int64_t, double> losses;
  std::istringstream lines(watch.Output());
  for (std::string line; std::getline(lines, line);) {
    auto step = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!step.is_object() || !step.contains("step")) continue;  // what is said beside the steps
    EXPECT_TRUE(losses.emplace(step["step"], step["loss"]).second) << line;
  }
  return losses;
}

TEST(DetachedWorker, WithoutRankZerosDaemonTheJobIsWatchedAndPlanned) {
  constexpr int64_t kSteps = 100'000;  // stopped by request
  constexpr int64_t kStepsCut = 40;
  Cluster cluster;
  cluster.StartCoordinator();
  Proxy proxy(cluster.port());
  cluster.SetCoordinatorOf(0, absl::StrCat("127.0.0.1:", proxy.port()));
  cluster.StartWorkers(2);
  JobConfig job = SmallJob("demo", 2, kSteps);
  ASSERT_TRUE(cluster.Submit(job).ok());
  Process watch({cluster.binary("ballastctl"), "--coordinator", absl::StrCat("127.0.0.1:", cluster.port()),
                 "--ca", cluster.Certificate("ca.pem"), "--cert", cluster.Certificate("operator-me.pem"),
                 "--key", cluster.Certificate("operator-me.key"), "job", "watch", "demo", "-o", "json"},
                cluster.LogPath("watch"));
  ASSERT_TRUE(cluster.WaitForJob("demo", 60, AtStep(10)));

  proxy.Cut();
  ASSERT_TRUE(cluster.WaitForWorkers(1, 20));
  const int64_t cut = cluster.Job("demo")->step();
  ASSERT_TRUE(cluster.WaitForJob("demo", 60, AtStep(cut + kStepsCut)))
      << "without rank 0's daemon nobody says what happens";
  ASSERT_TRUE(WaitForMemberEvents(cluster, 1));
  const v1::JobStatus meanwhile = cluster.Job("demo").value();
  const int64_t seen = meanwhile.step();
  EXPECT_EQ(meanwhile.state(), v1::JOB_STATE_RUNNING) << meanwhile.reason();
  EXPECT_EQ(meanwhile.workers_size(), 2) << "it is unobserved, not lost";
  EXPECT_THAT(Detached(cluster), ElementsAre("w0"));
  EXPECT_THAT(MemberEvents(cluster), ElementsAre("detached, unobserved from here on: w0"));
  proxy.Mend();
  ASSERT_TRUE(cluster.WaitForWorkers(2, 20));
  EXPECT_THAT(Detached(cluster), IsEmpty());
  ASSERT_TRUE(WaitForMemberEvents(cluster, 2));

  // The switch needs all daemons: it is decided after the mending, on steps that were reported meanwhile.
  absl::StatusOr<v1::PushPlanResponse> pushed =
      cluster.Push("demo", RotateExperts(cluster.Plan("demo").value().plan()));
  ASSERT_TRUE(pushed.ok()) << pushed.status();
  EXPECT_TRUE(cluster.WaitForPlan("demo", pushed->plan().version(), v1::PLAN_STATE_ACTIVE, 30));
  v1::StopJobRequest stop;
  v1::StopJobResponse stopping;
  stop.set_name("demo");
  ASSERT_TRUE(cluster.control().StopJob(Cluster::Within(10).get(), stop, &stopping).ok());
  ASSERT_TRUE(cluster.WaitForJob("demo", 60, IsFinal));
  v1::JobStatus status = cluster.Job("demo").value();
  EXPECT_EQ(status.state(), v1::JOB_STATE_SUCCEEDED) << status.reason();
  EXPECT_EQ(status.generation(), 1);
  EXPECT_THAT(MemberEvents(cluster),
              ElementsAre("detached, unobserved from here on: w0", "attached again: w0"));

  EXPECT_EQ(watch.Wait(20), 0) << watch.Output();
  const std::map<int64_t, double> shown = Watched(watch);
  for (DataSource& source : job.data.sources) source.prefix = cluster.data_prefix();
  const std::vector<double> reference = ReferenceLosses(job, status.step());
  ASSERT_GE(static_cast<int64_t>(reference.size()), status.step());
  int64_t missing = 0;
  for (int64_t step = 1; step <= status.step(); ++step) {
    auto at = shown.find(step);
    if (at == shown.end()) {
      ++missing;
      continue;
    }
    EXPECT_EQ(at->second, reference[static_cast<size_t>(step - 1)]) << "step " << step;
  }
  std::printf("cut at step %ld, mended at %ld, ended at %ld; %ld steps were never shown\n",
              static_cast<long>(cut), static_cast<long>(seen), static_cast<long>(status.step()),
              static_cast<long>(missing));
  // What was on its way in the connection that was cut is gone; no more than that.
  EXPECT_LE(missing, kStepsCut / 4);
  EXPECT_EQ(static_cast<int64_t>(shown.size()) + missing, status.step());
}

}  // namespace
}  // namespace ballast
