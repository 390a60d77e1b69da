// What tests of a cluster on two machines begin with.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "tests/e2e/cluster.h"
#include "tests/e2e/two_hosts.h"

namespace ballast {

// Skips its tests where namespaces cannot be made. Nothing runs in the cluster yet; its certificates name
// near and the operator's link, and clients reach the coordinator from there.
class ClusterOnTwoHosts : public testing::Test {
 protected:
  void SetUp() override {
    if (!hosts_.made()) GTEST_SKIP() << "network namespaces cannot be made here (needs root and veth)";
    cluster_ =
        std::make_unique<Cluster>(std::vector<std::string>{hosts_.address(1), hosts_.operator_address()});
    cluster_->SetHosts(hosts_.address(1), hosts_.operator_address());
  }

  TwoHosts hosts_;
  std::unique_ptr<Cluster> cluster_;
};

}  // namespace ballast
