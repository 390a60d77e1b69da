#include "worker/metrics/worker_metrics.h"

#include <gtest/gtest.h>

#include "worker/metrics/device_metrics.h"

namespace ballast {
namespace {

Hello Identity() {
  Hello hello;
  hello.worker = WorkerId("w0");
  hello.node = "n0";
  hello.device = "cpu";
  return hello;
}

RankStep TimesOf(double seconds) {
  RankStep step;
  step.step = Step(1);
  step.seconds = seconds;
  step.wait_seconds = seconds / 4;
  step.bytes_sent = 1000;
  step.bytes_received = 500;
  step.phase_seconds[static_cast<size_t>(Phase::kExperts)] = seconds / 2;
  return step;
}

const RunId kRun{JobId("demo"), Generation(1)};

bool Has(const std::string& text, const std::string& line) {
  return text.find(line + "\n") != std::string::npos;
}

TEST(WorkerMetrics, AddsUpTheStepsOfItsRanks) {
  WorkerMetrics metrics(Identity());
  MetricSet process;
  metrics.OnRankStep(kRun, Rank(2), TimesOf(0.04), {5, 7});
  metrics.OnRankStep(kRun, Rank(2), TimesOf(0.4), {10, 20});
  const std::string text = metrics.Text(true, 3, process);
  for (const char* line :
       {"ballast_attached 1", "ballast_reports_dropped_total 3",
        "ballast_worker_info{ballast_job=\"demo\",device=\"cpu\",node=\"n0\",rank=\"2\",worker=\"w0\"} 1",
        "ballast_step_seconds_count{ballast_job=\"demo\",rank=\"2\"} 2",
        "ballast_step_seconds_bucket{ballast_job=\"demo\",rank=\"2\",le=\"0.05\"} 1",
        "ballast_sent_bytes_total{ballast_job=\"demo\",rank=\"2\"} 2000",
        "ballast_received_bytes_total{ballast_job=\"demo\",rank=\"2\"} 1000",
        "ballast_layer_assignments_total{ballast_job=\"demo\",layer=\"1\",rank=\"2\"} 27"}) {
    EXPECT_TRUE(Has(text, line)) << line << " is not in\n" << text;
  }
}

TEST(WorkerMetrics, SeriesOfAGenerationGoWithIt) {
  WorkerMetrics metrics(Identity());
  MetricSet process;
  metrics.OnRankStep(kRun, Rank(2), TimesOf(0.04), {5});
  metrics.OnRankStep({JobId("demo"), Generation(2)}, Rank(1), TimesOf(0.04), {5});
  std::string text = metrics.Text(true, 0, process);
  EXPECT_EQ(text.find("rank=\"2\""), std::string::npos) << text;
  EXPECT_NE(text.find("rank=\"1\""), std::string::npos) << text;
  metrics.OnRunEnd(kRun);  // long gone
  EXPECT_NE(metrics.Text(true, 0, process).find("rank=\"1\""), std::string::npos);
  metrics.OnRunEnd({JobId("demo"), Generation(2)});
  EXPECT_EQ(metrics.Text(true, 0, process).find("rank="), std::string::npos);
}

TEST(WorkerMetrics, LinksAreNamedByNodesAndBounded) {
  std::vector<Member> members;
  std::vector<LinkProbe> links;
  for (int r = 0; r < 200; ++r) {
    Member member;
    member.rank = Rank(r);
    member.node = "n" + std::to_string(r);
    members.push_back(member);
    if (r > 0) links.push_back({Rank(0), Rank(r), 1e-4, 1e9, r == 7 ? "no answer" : ""});
  }
  WorkerMetrics metrics(Identity());
  MetricSet process;
  metrics.OnProbes(kRun, links, members);
  const std::string text = metrics.Text(true, 0, process);
  EXPECT_TRUE(Has(text, "ballast_link_probe_failures_total 1")) << text;
  EXPECT_TRUE(Has(text,
                  "ballast_link_bandwidth_bytes_per_second{ballast_job=\"demo\",from_node=\"n0\","
                  "to_node=\"n1\"} 1000000000"))
      << text;
  size_t shown = 0;
  for (size_t at = text.find("ballast_link_latency_seconds{"); at != std::string::npos;
       at = text.find("ballast_link_latency_seconds{", at + 1)) {
    ++shown;
  }
  EXPECT_EQ(shown, 64u);
}

// What a device does not tell has no series; so many series per device, whatever runs.
TEST(DeviceMetrics, OneSeriesPerThingThatADeviceTells) {
  DeviceReading all{.device = 3,
                    .power_watts = 412.5,
                    .temperature_celsius = 61,
                    .sm_clock_hertz = 1.98e9,
                    .utilization = 0.97,
                    .memory_used_bytes = 700,
                    .throttle_bits = 0x44,
                    .ecc_uncorrected = 3};
  MetricSet metrics;
  DeviceReading some;
  some.temperature_celsius = 38;
  FillDeviceMetrics({all, some}, metrics);
  const std::string text = MetricsText({&metrics});
  for (const char* line : {"ballast_device_power_watts{device=\"3\"} 412.5",
                           "ballast_device_temperature_celsius{device=\"3\"} 61",
                           "ballast_device_temperature_celsius{device=\"0\"} 38",
                           "ballast_device_sm_clock_hertz{device=\"3\"} 1980000000",
                           "ballast_device_utilization_ratio{device=\"3\"} 0.97",
                           "ballast_device_memory_used_bytes{device=\"3\"} 700",
                           "ballast_device_throttled{device=\"3\",reason=\"thermal\"} 1",
                           "ballast_device_throttled{device=\"3\",reason=\"hardware\"} 0",
                           "ballast_device_ecc_uncorrected_total{device=\"3\"} 3"}) {
    EXPECT_TRUE(Has(text, line)) << line << " in\n" << text;
  }
  size_t series = 0;
  for (size_t at = text.find("{device="); at != std::string::npos; at = text.find("{device=", at + 1))
    ++series;
  EXPECT_EQ(series, 6 + kThrottleReasons.size() + 1);
}

}  // namespace
}  // namespace ballast
