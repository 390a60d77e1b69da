#include "base/ids.h"

#include <gtest/gtest.h>

namespace ballast {
namespace {

TEST(Ids, OrderAndNext) {
  EXPECT_LT(Step(3), Step(4));
  EXPECT_EQ(Step(3).Next(), Step(4));
  EXPECT_EQ(PlanVersion(), PlanVersion(0));
  EXPECT_NE(WorkerId("a"), WorkerId("b"));
}

}  // namespace
}  // namespace ballast
