// The coordinator's metrics of a job as large as people run: no more series than promised.
#include "coordinator/state_metrics.h"

#include <gtest/gtest.h>

#include "coordinator/coordinator_metrics.h"
#include "metrics/catalog.h"
#include "tests/base/temp_dir.h"
#include "tests/coordinator/small_job.h"
#include "tests/metrics/promtool.h"

namespace ballast {
namespace {

constexpr int kExperts = 256;

StateSnapshot Snapshot(int ranks, int layers, JobState state = JobState::kRunning) {
  StateSnapshot snapshot;
  snapshot.leader.term = Term(3);
  auto config = SmallJob("demo", ranks);
  JobStatus job;
  job.record.config = config;
  job.record.state = state;
  job.record.step = Step(9);
  job.record.evaluations = {{Step(0), "text", 5.0}, {Step(5), "text", 4.0}};
  job.recent_steps.push_back({.step = Step(9), .plan = PlanVersion(1), .loss = 2.5});
  JobTelemetry telemetry;
  for (int r = 0; r < ranks; ++r) {
    RankTelemetry rank;
    rank.rank = Rank(r);
    rank.worker = WorkerId("w" + std::to_string(r));
    rank.node = "n" + std::to_string(r / 8);
    rank.device = "cuda";
    rank.last.step = Step(9);
    for (int peer = 0; peer < ranks; ++peer) rank.last.links.push_back({Rank(peer), 1, 1, 0.1});
    telemetry.ranks.push_back(rank);
    WorkerStatus worker;
    worker.name = rank.worker;
    worker.attached = r != 1;
    worker.reports_dropped = 5;
    snapshot.workers.push_back(worker);
  }
  telemetry.rejected = 2;
  telemetry.last.step = Step(9);
  telemetry.last.load.tokens.assign(layers, std::vector<int64_t>(kExperts, 10));
  telemetry.last.rank_tokens.assign(layers, std::vector<int64_t>(ranks, 40));
  if (layers > 0) telemetry.last.load.tokens[0][7] = 30;
  if (state == JobState::kRunning) snapshot.telemetry.emplace(JobId("demo"), std::move(telemetry));
  snapshot.jobs.push_back(std::move(job));
  return snapshot;
}

std::string Text(const StateSnapshot& snapshot) {
  MetricSet metrics;
  FillStateMetrics(snapshot, metrics);
  return MetricsText({&metrics});
}

TEST(StateMetrics, AtMostEightSeriesPerRankAndTwentyPerLayer) {
  const int none = CountSamples(Text(Snapshot(0, 0)));
  const int ranks = CountSamples(Text(Snapshot(64, 0))) - none;
  const int layers = CountSamples(Text(Snapshot(0, 61))) - none;
  EXPECT_LE(ranks, 8 * 64);
  EXPECT_GE(ranks, 4 * 64);
  EXPECT_LE(layers, 20 * 61);
  EXPECT_GE(layers, 2 * 61);
  EXPECT_EQ(CountSamples(Text(Snapshot(64, 61))), none + ranks + layers) << "nothing has a rank and a layer";
}

TEST(StateMetrics, SaysWhatIsTrue) {
  const std::string text = Text(Snapshot(2, 1));
  for (const char* line :
       {"ballast_job_state{ballast_job=\"demo\",state=\"RUNNING\"} 1\n",
        "ballast_job_state{ballast_job=\"demo\",state=\"FAILED\"} 0\n",
        "ballast_job_evaluation_loss{ballast_job=\"demo\",source=\"text\"} 4\n",
        "ballast_reports_rejected_total{ballast_job=\"demo\"} 2\n",
        "ballast_worker_attached{worker=\"w0\"} 1\n", "ballast_worker_attached{worker=\"w1\"} 0\n",
        "ballast_worker_reports_dropped_total{worker=\"w1\"} 5\n",
        "ballast_worker_info{ballast_job=\"demo\",device=\"cuda\",node=\"n0\",rank=\"1\",worker=\"w1\"} 1\n",
        "ballast_layer_hot_expert_index{ballast_job=\"demo\",layer=\"0\",slot=\"1\"} 7\n",
        "ballast_layer_hot_expert_index{ballast_job=\"demo\",layer=\"0\",slot=\"2\"} 0\n"}) {
    EXPECT_NE(text.find(line), std::string::npos) << line << "is not in\n" << text;
  }
}

TEST(StateMetrics, SeriesOfWhatIsGoneGo) {
  const std::string text = Text(Snapshot(2, 1, JobState::kFailed));
  EXPECT_NE(text.find("ballast_job_state{ballast_job=\"demo\",state=\"FAILED\"} 1\n"), std::string::npos);
  for (const char* name : {"ballast_rank_", "ballast_layer_", "ballast_worker_info", "ballast_job_loss"}) {
    EXPECT_EQ(text.find(name), std::string::npos) << name << " is still there\n" << text;
  }
}

}  // namespace
}  // namespace ballast
