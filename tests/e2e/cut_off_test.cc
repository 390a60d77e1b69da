// The coordinator alone is cut off from all workers at a chosen place of a plan's rollout. The link is
// silent, nothing is reset. The workers train on as the generation that they are; the plan waits where it is.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <future>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "protocol/checkpoint.h"
#include "tests/base/net_namespace.h"
#include "tests/e2e/cluster_on_two_hosts.h"
#include "tests/e2e/elastic_job.h"
#include "tests/e2e/reference_run.h"
#include "tests/e2e/rollout.h"

namespace ballast {
namespace {

constexpr int kWorkers = 4;

class CutOff : public ClusterOnTwoHosts, public testing::WithParamInterface<std::string> {
 protected:
  // What it becomes while nobody hears the coordinator, and what nobody needs it for: behind the first Commit
  // the ranks switch by themselves, and their word of it was on its way before the cut.
  v1::PlanState StateMeanwhile() const {
    if (GetParam().ends_with("-stage")) return v1::PLAN_STATE_PROPOSED;
    return GetParam() == "before-commit" ? v1::PLAN_STATE_COMMITTED : v1::PLAN_STATE_ACTIVE;
  }
  // The newest step of which a rank has begun to write a checkpoint: seen without any link.
  int64_t NewestOnDisk() const {
    int64_t newest = 0;
    for (const auto& entry : std::filesystem::directory_iterator(cluster_->dir() / "checkpoints/demo")) {
      const auto name = ParseCheckpointName(entry.path().filename().string());
      if (name.has_value()) newest = std::max(newest, name->step.value());
    }
    return newest;
  }
  // All workers have given their stream up; from then on they keep what they have to report.
  bool WaitUntilWorkersKnow(double seconds) const {
    return cluster_->WaitForJob("demo", seconds, [&](const v1::JobStatus&) {
      for (int i = 0; i < kWorkers; ++i)
        if (!absl::StrContains(cluster_->worker(i).Output(), "the coordinator is silent")) return false;
      return true;
    });
  }
  // Every step that was reported has the loss of a run that nothing happened to, to the bit: an update that
  // is left out or made twice changes all losses behind it. What was written into the link when nobody knew
  // yet that it is cut is gone: reports of steps behind `heard` and before `kept`.
  void ExpectEveryStepOnce(JobConfig job, const v1::JobStatus& status, int64_t heard, int64_t kept) const {
    for (DataSource& source : job.data.sources) source.prefix = cluster_->data_prefix();
    const std::vector<double> reference = ReferenceLosses(job, status.step());
    ASSERT_GE(static_cast<int64_t>(reference.size()), status.step());
    std::set<int64_t> missing;
    for (int64_t step = 1; step <= status.step(); ++step) missing.insert(step);
    for (const v1::StepStatus& step : status.recent_steps()) {
      EXPECT_EQ(step.loss(), reference[static_cast<size_t>(step.step() - 1)]) << "step " << step.step();
      EXPECT_EQ(missing.erase(step.step()), 1u) << "step " << step.step() << " is shown twice";
    }
    EXPECT_THAT(missing, testing::Each(testing::AllOf(testing::Gt(heard), testing::Lt(kept))));
    std::printf("%d steps are the same to the bit, %d were written into the cut link\n",
                status.recent_steps_size(), static_cast<int>(missing.size()));
  }
  std::vector<std::string> Events(v1::EventKind kind) const {
    v1::ListEventsRequest request;
    v1::ListEventsResponse response;
    request.set_job("demo");
    EXPECT_TRUE(cluster_->control().ListEvents(Cluster::Within(10).get(), request, &response).ok());
    std::vector<std::string> texts;
    for (const v1::LoggedEvent& event : response.events())
      if (event.kind() == kind && !TellsOfSpeed(event)) texts.push_back(event.text());
    return texts;
  }
};

TEST_P(CutOff, TheWorkersTrainOnAndThePlanIsFinishedAfterTheMending) {
  cluster_->SetPrefix(InNamespace(hosts_.near()));
  cluster_->StartCoordinator({"--lease", "5", "--failpoint", GetParam() + ":stop"});
  cluster_->SetPrefix(InNamespace(hosts_.far()));
  cluster_->StartWorkers(kWorkers);
  JobConfig job = ElasticJob(*cluster_, 2, kWorkers, 100000);  // stopped by request
  job.data.sequence_length = 48;  // slower steps: hundreds of them, not thousands
  job.training.global_batch_sequences = 12;
  ASSERT_TRUE(cluster_->Submit(job).ok());
  std::future<bool> pushed = PushAtStep12(*cluster_);
  // The process that was started is the coordinator: nsenter execs it.
  ASSERT_TRUE(WaitUntilStill(cluster_->coordinator().pid(), 20));
  const bool switches = StateMeanwhile() == v1::PLAN_STATE_ACTIVE;
  if (switches) {
    ASSERT_TRUE(WaitUntilSwitched(*cluster_, kWorkers, 20));
  }
  ASSERT_TRUE(hosts_.CutLink());
  cluster_->coordinator().Signal(SIGCONT);
  EXPECT_TRUE(pushed.get());

  // Nobody is seen, and nothing is done about that.
  ASSERT_TRUE(cluster_->WaitForWorkers(0, 30));
  ASSERT_TRUE(WaitUntilWorkersKnow(30));
  const int64_t known = NewestOnDisk();
  const int64_t heard = cluster_->Job("demo")->step();
  ASSERT_TRUE(cluster_->WaitForJob("demo", 30, [&](const v1::JobStatus&) {
    return NewestOnDisk() >= known + 20;
  })) << "checkpoints begin behind every tenth step: the workers do not train";
  v1::JobStatus status = cluster_->Job("demo").value();
  EXPECT_EQ(status.state(), v1::JOB_STATE_RUNNING) << status.reason();
  EXPECT_EQ(status.generation(), 1);
  EXPECT_EQ(status.step(), heard) << "nobody can have said so";
  EXPECT_EQ(status.workers_size(), kWorkers);
  EXPECT_EQ(cluster_->Plan("demo", 2)->status().state(), StateMeanwhile());
  EXPECT_EQ(SwitchedWorkers(*cluster_, kWorkers), switches ? kWorkers : 0);
  const int64_t unseen = NewestOnDisk();

  ASSERT_TRUE(hosts_.MendLink());
  ASSERT_TRUE(cluster_->WaitForWorkers(kWorkers, 30));
  ASSERT_TRUE(cluster_->WaitForPlan("demo", 2, v1::PLAN_STATE_ACTIVE, 30));
  const int64_t switched_at = cluster_->Plan("demo", 2)->status().switch_step();
  EXPECT_EQ(SwitchedWorkers(*cluster_, kWorkers), kWorkers);
  EXPECT_EQ(switched_at > unseen, !switches)
      << "ranks that were not told of the commitment need the coordinator";
  ASSERT_TRUE(cluster_->WaitForJob("demo", 40, AtStep(std::max(unseen, switched_at) + 5)));
  status = StopAndEnd(*cluster_);

  EXPECT_EQ(status.generation(), 1);
  EXPECT_EQ(status.plan_version(), 2);
  EXPECT_EQ(Events(v1::EVENT_KIND_RECOVERY), std::vector<std::string>{});
  EXPECT_EQ(Events(v1::EVENT_KIND_ALARM), std::vector<std::string>{});
  EXPECT_THAT(Events(v1::EVENT_KIND_MEMBER),
              testing::Contains(testing::StartsWith("detached, unobserved from here on: ")));
  EXPECT_THAT(Events(v1::EVENT_KIND_MEMBER), testing::Contains(testing::StartsWith("attached again: ")));
  ExpectEveryStepOnce(job, status, heard, known + 20);
  std::printf("cut at step %ld, mended behind step %ld, plan 2 active from step %ld, ended at step %ld\n",
              static_cast<long>(heard), static_cast<long>(unseen), static_cast<long>(switched_at),
              static_cast<long>(status.step()));
}

INSTANTIATE_TEST_SUITE_P(Chaos, CutOff,
                         testing::Values("before-stage", "after-stage", "before-commit", "after-commit",
                                         "before-active"),
                         [](const testing::TestParamInfo<std::string>& info) {
                           std::string name = info.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace ballast
