// What a generation that is over leaves in a session: what it says of its ranks, and what the next one may go
// on with.
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/worker/session/session_fixture.h"
#include "worker/session.h"

namespace ballast {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

TEST_F(SessionTest, WhatWasSaidOfItsRanksStaysTrue) {
  Assigned();
  EXPECT_TRUE(session_.OnApplying(run_, Rank(0), Step(1), PlanVersion(1)));
  EXPECT_TRUE(session_.OnApplying(run_, Rank(1), Step(1), PlanVersion(1)));
  session_.OnStepDone(run_, Rank(0), Step(1));
  EXPECT_TRUE(session_.OnApplying(run_, Rank(0), Step(2), PlanVersion(1)));
  session_.OnLostPeer(run_, Rank(2), "connection reset");
  EXPECT_FALSE(session_.OnApplying(run_, Rank(1), Step(2), PlanVersion(1)))
      << "it may have been told already";
  EXPECT_THAT(Said(session_.OnMessage(Abort{StampAt(1), "over"})),
              ElementsAre("Frozen{term 1 job demo gen 1 step 0 v1 rank 0 at 2 v1 rank 1 at 1 v1}"));
  EXPECT_FALSE(session_.OnApplying(run_, Rank(1), Step(2), PlanVersion(1)));
}

TEST_F(SessionTest, WhatIsGoneIsNotHeld) {
  Assigned();
  session_.OnReleased({JobId("demo"), Generation(9)}, Rank(0));
  session_.OnReleased(run_, Rank(1));
  EXPECT_THAT(Said(session_.OnMessage(Abort{StampAt(1), "over"})),
              ElementsAre("Frozen{term 1 job demo gen 1 step 0 v1 rank 0 at 0 v1 rank 1 at 0 v1 not held}"));
}

TEST_F(SessionTest, GoesOnOnlyWithWhatItLeftLast) {
  Assigned();
  session_.OnMessage(Abort{StampAt(1), "over"});
  const auto next = [&](int64_t generation, int64_t retained) {
    Assign assign = MakeAssign();
    assign.stamp.generation = Generation(generation);
    auto plan = SmallPlan(3, 2, 0);
    plan->stamp.generation = Generation(generation);
    assign.plan = plan;
    assign.start_step = Step(8);
    assign.retained = Generation(retained);
    return session_.OnMessage(assign);
  };
  const SessionActions right = next(2, 1);
  ASSERT_TRUE(right.start.has_value());
  EXPECT_EQ(right.start->assign.retained, Generation(1));
  session_.OnMessage(Abort{StampAt(1, 2), "over"});
  const SessionActions wrong = next(3, 1);
  EXPECT_FALSE(wrong.start.has_value());
  EXPECT_THAT(Said(wrong),
              ElementsAre(AllOf(HasSubstr("may be tried again"), HasSubstr("retained: found generation 1"))));
}

TEST_F(SessionTest, AGenerationThatIsOverBeforeItIsHeardOfLeavesWhatWasHeld) {
  Assigned();
  EXPECT_TRUE(session_.OnApplying(run_, Rank(0), Step(7), PlanVersion(1)));
  EXPECT_TRUE(session_.OnApplying(run_, Rank(1), Step(6), PlanVersion(1)));
  session_.OnReleased(run_, Rank(1));
  session_.OnMessage(Abort{StampAt(1), "over"});
  // Generations 2 and 3 went on from it; their Aborts overtake their Assigns.
  const Abort second{StampAt(1, 2), "over", Generation(1), Step(8), PlanVersion(4)};
  const std::string answer = "Frozen{term 1 job demo gen 2 step 7 v4 rank 0 at 7 v4 rank 1 at 7 v4 not held}";
  EXPECT_THAT(Said(session_.OnMessage(second)), ElementsAre(answer));
  EXPECT_THAT(Said(session_.OnMessage(second)), ElementsAre(answer));
  EXPECT_THAT(Said(session_.OnMessage(Abort{StampAt(1, 3), "over", Generation(2), Step(8), PlanVersion(5)})),
              ElementsAre("Frozen{term 1 job demo gen 3 step 7 v5 rank 0 at 7 v5 rank 1 at 7 v5 not held}"));
  Assign assign = MakeAssign();
  assign.stamp.generation = Generation(4);
  auto plan = SmallPlan(3, 6, 0);
  plan->stamp.generation = Generation(4);
  assign.plan = plan;
  assign.start_step = Step(8);
  assign.retained = Generation(3);
  const SessionActions actions = session_.OnMessage(assign);
  ASSERT_TRUE(actions.start.has_value());
  EXPECT_EQ(actions.start->kept_in, Generation(1)) << "what is kept here lies there under that name";
}

TEST_F(SessionTest, AGenerationThatBeganElsewhereLeavesNothingHere) {
  Assigned();
  session_.OnMessage(Abort{StampAt(1), "over"});
  // From a checkpoint, and from what another generation left.
  EXPECT_THAT(Said(session_.OnMessage(Abort{StampAt(1, 2), "over"})),
              ElementsAre("Frozen{term 1 job demo gen 2 step 0 v0}"));
  EXPECT_THAT(Said(session_.OnMessage(Abort{StampAt(1, 4), "over", Generation(3), Step(8), PlanVersion(5)})),
              ElementsAre("Frozen{term 1 job demo gen 4 step 0 v0}"));
}

}  // namespace
}  // namespace ballast
