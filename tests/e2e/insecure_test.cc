// The one test without certificates.
#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "absl/strings/match.h"
#include "tests/e2e/cluster.h"

namespace ballast {
namespace {

TEST(Insecure, PlaintextWorksOnlyWhenAskedForAndWarns) {
  Cluster cluster(Cluster::kPlaintext);
  cluster.StartCoordinator();
  cluster.StartWorkers(2);
  EXPECT_TRUE(absl::StrContains(cluster.coordinator().Output(), "level=warning event=\"plaintext: anyone"))
      << cluster.coordinator().Output();
  EXPECT_TRUE(
      absl::StrContains(cluster.worker(0).Output(), "level=warning event=\"plaintext: the coordinator's"))
      << cluster.worker(0).Output();
  ASSERT_TRUE(cluster.Submit(SmallJob("demo", 2, 5)).ok());
  ASSERT_TRUE(cluster.WaitForJob("demo", 60, IsFinal));
  EXPECT_EQ(cluster.Job("demo")->state(), v1::JOB_STATE_SUCCEEDED) << cluster.Job("demo")->reason();

  // Neither certificates nor --insecure: nothing is served.
  Process unsure({cluster.binary("ballast-coordinator"), "--listen", "127.0.0.1:0", "--data-dir",
                  cluster.dir() / "other"},
                 cluster.LogPath("unsure"));
  EXPECT_EQ(unsure.Wait(20), 2);
  EXPECT_TRUE(absl::StrContains(unsure.Output(), "or --insecure for plaintext")) << unsure.Output();
}

}  // namespace
}  // namespace ballast
