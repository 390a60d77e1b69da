// What real daemons tell of themselves: /metrics over TLS, and telemetry over gRPC.
#include <gtest/gtest.h>
#include <httplib.h>

#include <chrono>
#include <functional>
#include <numeric>
#include <string>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/daemons/free_port.h"
#include "tests/e2e/cluster.h"
#include "tests/e2e/plan_edits.h"
#include "tests/metrics/promtool.h"

namespace ballast {
namespace {

constexpr int kRanks = 4;

bool Eventually(double seconds, const std::function<bool()>& holds) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  while (!holds()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  return true;
}

class TelemetryOfDaemons : public testing::Test {
 protected:
  TelemetryOfDaemons() {
    coordinator_port_ = FreePort();
    cluster_.StartCoordinator(MetricsFlags(coordinator_port_));
    for (int i = 0; i < kRanks; ++i) {
      worker_ports_.push_back(FreePort());
      cluster_.StartWorker(i, MetricsFlags(worker_ports_.back()));
    }
    EXPECT_TRUE(cluster_.WaitForWorkers(kRanks, 20));
  }
  // The coordinator's certificate is good for 127.0.0.1.
  std::vector<std::string> MetricsFlags(int port) {
    return {"--metrics-listen", absl::StrCat("127.0.0.1:", port),
            "--metrics-cert",   cluster_.Certificate("coordinator.pem"),
            "--metrics-key",    cluster_.Certificate("coordinator.key")};
  }
  std::string Scrape(int port) {
    httplib::SSLClient client("127.0.0.1", port);
    client.set_ca_cert_path(cluster_.Certificate("ca.pem").c_str());
    client.enable_server_certificate_verification(true);
    auto result = client.Get("/metrics");
    return result && result->status == 200 ? result->body : "";
  }
  v1::GetTelemetryResponse Telemetry() {
    v1::GetTelemetryRequest request;
    v1::GetTelemetryResponse response;
    request.set_job("demo");
    EXPECT_TRUE(cluster_.control().GetTelemetry(Cluster::Within(5).get(), request, &response).ok());
    return response;
  }

  Cluster cluster_;
  int coordinator_port_ = 0;
  std::vector<int> worker_ports_;
};

TEST_F(TelemetryOfDaemons, IsScrapedAndAsked) {
  const JobConfig job = SmallJob("demo", kRanks, 1000000);
  ASSERT_TRUE(cluster_.Submit(job).ok());
  ASSERT_TRUE(
      cluster_.WaitForJob("demo", 60, [](const v1::JobStatus& status) { return status.step() >= 5; }));

  // A plan that becomes active.
  ASSERT_TRUE(cluster_.WaitForPlan("demo", 1, v1::PLAN_STATE_ACTIVE, 60));
  ASSERT_TRUE(cluster_.Push("demo", RotateExperts(cluster_.Plan("demo")->plan())).ok());
  ASSERT_TRUE(cluster_.WaitForPlan("demo", 2, v1::PLAN_STATE_ACTIVE, 60));

  // Why it is what it is, what it was predicted to change, what was measured of it, and what it cost.
  v1::ExplainPlanRequest why;
  v1::ExplainPlanResponse explained;
  why.set_job("demo");
  EXPECT_TRUE(Eventually(30, [&] {
    return cluster_.control().ExplainPlan(Cluster::Within(5).get(), why, &explained).ok() &&
           explained.measured().complete();
  })) << explained.DebugString();
  const v1::PlanStatus& plan = explained.plan();
  EXPECT_EQ(plan.version(), 2);
  EXPECT_EQ(plan.origin(), v1::PLAN_ORIGIN_PUSHED);
  EXPECT_GE(plan.imbalance_before(), 1) << "predicted from measured loads";
  EXPECT_GE(plan.imbalance_bound(), 1);
  EXPECT_GE(plan.imbalance_after() + 1e-9, plan.imbalance_bound());
  const int64_t expert_weights = 3LL * job.model.hidden_size * job.model.moe.intermediate_size;
  EXPECT_EQ(plan.slot_writes(), job.model.layers * job.model.moe.experts) << "every expert moves";
  EXPECT_EQ(plan.slot_bytes(), plan.slot_writes() * expert_weights * 4);
  ASSERT_EQ(explained.explanation().layers_size(), job.model.layers);
  EXPECT_TRUE(explained.explanation().accepted());
  EXPECT_GT(explained.explanation().last_sample(), 0);
  for (const v1::PlanExplanation::Layer& layer : explained.explanation().layers()) {
    EXPECT_EQ(layer.load_size(), job.model.moe.experts);
    EXPECT_GT(std::accumulate(layer.load().begin(), layer.load().end(), int64_t{0}), 0);
    EXPECT_GE(layer.imbalance_before() + 1e-9, layer.bound());
  }
  const v1::MeasuredGain& gain = explained.measured();
  EXPECT_EQ(gain.steps(), 20);
  EXPECT_EQ(gain.from_step(), plan.switch_step());
  EXPECT_GE(gain.imbalance(), 1);
  EXPECT_GE(gain.imbalance_without(), 1) << "of the same loads under plan 1";
  EXPECT_GT(gain.step_seconds(), 0);
  EXPECT_GT(gain.step_seconds_before(), 0);
  EXPECT_GT(gain.switch_seconds(), 0);

  // Every rank has told of its times, and both directions between the nodes are measured.
  v1::GetTelemetryResponse telemetry;
  EXPECT_TRUE(Eventually(30, [&] {
    telemetry = Telemetry();
    int told = 0;
    for (const v1::RankTelemetry& rank : telemetry.ranks()) told += rank.step() > 0;
    return told == kRanks && telemetry.topology().links_size() == 2;
  })) << telemetry.DebugString();
  for (const v1::RankTelemetry& rank : telemetry.ranks()) {
    double phases = 0;
    for (const v1::PhaseTime& phase : rank.phases()) phases += phase.seconds();
    EXPECT_NEAR(phases, rank.seconds(), 1e-6);
    EXPECT_EQ(rank.links_size(), kRanks - 1);
    EXPECT_GT(rank.bytes_sent(), 0);
  }
  EXPECT_EQ(telemetry.layers_size(), job.model.layers);
  EXPECT_EQ(telemetry.reports_dropped(), 0);
  EXPECT_EQ(telemetry.reports_rejected(), 0);
  ASSERT_EQ(telemetry.topology().nodes_size(), 2);
  for (const v1::LinkStatus& link : telemetry.topology().links()) {
    EXPECT_NE(link.from_node(), link.to_node());
    EXPECT_GT(link.bytes_per_second(), 1e6) << link.ShortDebugString();
  }

  // The full matrices.
  v1::GetLoadRequest request;
  v1::GetLoadResponse load;
  request.set_job("demo");
  request.set_steps(3);
  request.set_layer(1);
  ASSERT_TRUE(cluster_.control().GetLoad(Cluster::Within(5).get(), request, &load).ok());
  ASSERT_EQ(load.steps_size(), 3);
  const int64_t assignments =
      int64_t{job.training.global_batch_sequences} * job.data.sequence_length * job.model.moe.top_k;
  for (const v1::StepLoadStatus& step : load.steps()) {
    ASSERT_EQ(step.layers_size(), 1);
    EXPECT_EQ(step.layers(0).layer(), 1);
    EXPECT_EQ(step.layers(0).expert_tokens_size(), job.model.moe.experts);
    const auto& experts = step.layers(0).expert_tokens();
    const auto& ranks = step.layers(0).rank_tokens();
    EXPECT_EQ(std::accumulate(experts.begin(), experts.end(), int64_t{0}), assignments);
    EXPECT_EQ(std::accumulate(ranks.begin(), ranks.end(), int64_t{0}), assignments);
  }
  request.set_layer(99);
  const grpc::Status no_layer = cluster_.control().GetLoad(Cluster::Within(5).get(), request, &load);
  EXPECT_EQ(no_layer.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_TRUE(absl::StartsWith(no_layer.error_message(), "layer: found 99, allowed 0.."))
      << no_layer.error_message();

  // Both daemons' pages.
  const std::string coordinator = Scrape(coordinator_port_);
  for (const char* part :
       {"ballast_job_state{ballast_job=\"demo\",state=\"RUNNING\"} 1\n", "ballast_rank_step_seconds{",
        "ballast_layer_hot_expert_index{ballast_job=\"demo\",layer=\"0\",slot=\"4\"}",
        "ballast_store_commit_seconds_count",
        "ballast_plan_transitions_total{ballast_job=\"demo\",state=\"proposed\"} 1\n",
        "ballast_plan_transitions_total{ballast_job=\"demo\",state=\"committed\"} 1\n",
        "ballast_plan_transitions_total{ballast_job=\"demo\",state=\"active\"} 1\n",
        "ballast_plan_staging_seconds_count 1\n", "ballast_plan_switch_seconds_count 1\n",
        "ballast_certificate_expiry_timestamp_seconds", "ballast_plaintext 0\n",
        "ballast_worker_attached{worker=\"w3\"} 1\n"}) {
    EXPECT_NE(coordinator.find(part), std::string::npos) << part << " is not in\n" << coordinator;
  }
  for (int i = 0; i < kRanks; ++i) {
    const std::string worker = Scrape(worker_ports_[i]);
    for (const std::string& part :
         {std::string("ballast_attached 1\n"), std::string("ballast_step_seconds_bucket{"),
          absl::StrCat("worker=\"w", i, "\""),
          absl::StrCat("ballast_phase_seconds_total{ballast_job=\"demo\",phase=\"experts\",rank=\"", i,
                       "\"}")}) {
      EXPECT_NE(worker.find(part), std::string::npos) << part << " is not in\n" << worker;
    }
    if (HavePromtool()) {
      EXPECT_EQ(PromtoolComplaints(worker, cluster_.dir().path()), "");
    }
  }
  httplib::Client plain("127.0.0.1", coordinator_port_);
  EXPECT_FALSE(plain.Get("/metrics")) << "plaintext got an answer";
  if (!HavePromtool()) GTEST_SKIP() << "promtool is not installed (Debian package prometheus)";
  EXPECT_EQ(PromtoolComplaints(coordinator, cluster_.dir().path()), "");
}

TEST_F(TelemetryOfDaemons, TheJobsSeriesGoWithIt) {
  ASSERT_TRUE(cluster_.Submit(SmallJob("demo", kRanks, 20)).ok());
  ASSERT_TRUE(cluster_.WaitForJob("demo", 60, IsFinal));
  const std::string coordinator = Scrape(coordinator_port_);
  EXPECT_NE(coordinator.find("ballast_job_state{ballast_job=\"demo\",state=\"SUCCEEDED\"} 1\n"),
            std::string::npos);
  EXPECT_EQ(coordinator.find("ballast_rank_"), std::string::npos) << coordinator;
  std::string worker;
  EXPECT_TRUE(Eventually(10, [&] {
    worker = Scrape(worker_ports_[0]);
    return worker.find("rank=") == std::string::npos;
  })) << worker;
}

}  // namespace
}  // namespace ballast
