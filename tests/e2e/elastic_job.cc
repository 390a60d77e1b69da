#include "tests/e2e/elastic_job.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <vector>

#include "tests/e2e/reference_run.h"

namespace ballast {

JobConfig ElasticJob(const Cluster& cluster, int min, int max, int64_t steps) {
  JobConfig job = SmallJob("demo", max, steps);
  job.placement.ranks_min = min;
  job.checkpoint.path = cluster.dir() / "checkpoints";
  job.checkpoint.every_steps = 10;
  return job;
}

void ExpectUndisturbed(const Cluster& cluster, JobConfig job, const v1::JobStatus& status) {
  for (DataSource& source : job.data.sources) source.prefix = cluster.data_prefix();
  const std::vector<double> reference = ReferenceLosses(job, status.step());
  ASSERT_GE(static_cast<int64_t>(reference.size()), status.step());
  ASSERT_GT(status.recent_steps_size(), 0);
  double worst = 0;
  for (const v1::StepStatus& step : status.recent_steps()) {
    const double expected = reference[static_cast<size_t>(step.step() - 1)];
    worst = std::max(worst, std::abs(step.loss() - expected) / expected);
    EXPECT_NEAR(step.loss(), expected, 1e-4 * expected) << "step " << step.step();
  }
  std::printf("%d steps compared, largest relative difference %.2g\n", status.recent_steps_size(), worst);
}

void ExpectSameBits(const Cluster& cluster, JobConfig job, const v1::JobStatus& status, int64_t last) {
  for (DataSource& source : job.data.sources) source.prefix = cluster.data_prefix();
  const std::vector<double> reference = ReferenceLosses(job, last);
  int64_t compared = 0;
  for (const v1::StepStatus& step : status.recent_steps()) {
    if (step.step() > last) continue;
    EXPECT_EQ(step.loss(), reference[static_cast<size_t>(step.step() - 1)]) << "step " << step.step();
    ++compared;
  }
  EXPECT_EQ(compared, last);
  std::printf("%d steps are the same to the bit\n", static_cast<int>(compared));
}

void ExpectSuccessUndisturbed(Cluster& cluster, const JobConfig& job) {
  ASSERT_TRUE(cluster.WaitForJob("demo", 120, IsFinal));
  const v1::JobStatus status = cluster.Job("demo").value();
  EXPECT_EQ(status.state(), v1::JOB_STATE_SUCCEEDED) << status.reason();
  ExpectUndisturbed(cluster, job, status);
}

std::vector<v1::LoggedEvent> Events(Cluster& cluster, int64_t since_unix_ms) {
  v1::ListEventsRequest request;
  v1::ListEventsResponse response;
  request.set_job("demo");
  request.set_since_unix_ms(since_unix_ms);
  EXPECT_TRUE(cluster.control().ListEvents(Cluster::Within(10).get(), request, &response).ok());
  return {response.events().begin(), response.events().end()};
}

}  // namespace ballast
