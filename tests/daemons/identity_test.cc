#include "net/identity.h"

#include <gtest/gtest.h>

#include <string>

namespace ballast {
namespace {

TEST(Identity, ReadsTheTwoKinds) {
  EXPECT_EQ(ParseSpiffe("spiffe://ballast/worker/node-7.rack_2").value(),
            (Identity{.role = Role::kWorker, .name = "node-7.rack_2"}));
  EXPECT_EQ(ParseSpiffe("spiffe://ballast/operator/me").value(),
            (Identity{.role = Role::kOperator, .name = "me"}));
}

TEST(Identity, RefusesEverythingElse) {
  for (std::string uri :
       {"", "spiffe://ballast/", "spiffe://ballast/worker", "spiffe://ballast/worker/",
        "spiffe://ballast/workers/w0", "spiffe://ballast/worker/w0/x", "spiffe://ballast/worker/w 0",
        "spiffe://other/worker/w0", "spiffe://ballast/coordinator", "https://ballast/worker/w0",
        "spiffe://ballast/anyone/x", "spiffe://ballast/Worker/w0"}) {
    EXPECT_EQ(ParseSpiffe(uri).status().code(), absl::StatusCode::kPermissionDenied) << uri;
  }
  EXPECT_FALSE(ParseSpiffe("spiffe://ballast/worker/" + std::string(64, 'a')).ok());
  EXPECT_TRUE(ParseSpiffe("spiffe://ballast/worker/" + std::string(63, 'a')).ok());
}

}  // namespace
}  // namespace ballast
