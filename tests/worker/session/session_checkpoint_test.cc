// What a session says and believes of checkpoints.
#include <string>
#include <vector>

#include "tests/worker/session/session_fixture.h"

namespace ballast {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

TEST_F(SessionTest, ACheckpointIsWrittenWhenEveryLocalRankHasWrittenItsPart) {
  Assigned();
  const WrittenCheckpoint first{Step(5), PlanVersion(1), RequestId(2), {{"a", 10, "aa"}}};
  const WrittenCheckpoint second{Step(5), PlanVersion(1), RequestId(2), {{"b", 20, "bb"}, {"c", 30, "cc"}}};
  EXPECT_THAT(Said(session_.OnCheckpointWritten(run_, Rank(1), second)), IsEmpty());
  EXPECT_THAT(Said(session_.OnCheckpointWritten(run_, Rank(1), second)), IsEmpty()) << "one rank twice";
  const SessionActions all = session_.OnCheckpointWritten(run_, Rank(0), first);
  EXPECT_THAT(Said(all), ElementsAre("CheckpointWritten{term 1 job demo gen 1 step 5 v1 request 2 3 files}"));
  const auto& message = std::get<CheckpointWritten>(all.send[0]);
  EXPECT_EQ(message.incarnation, Incarnation(7));
  EXPECT_EQ(message.files[2], first.files[0]);

  // Said again to every leader until a later one is written.
  EXPECT_THAT(Said(session_.OnMessage(Welcome{Term(2)})),
              ElementsAre("CheckpointWritten{term 2 job demo gen 1 step 5 v1 request 2 3 files}"));
  session_.OnCheckpointWritten(run_, Rank(0), {Step(9), PlanVersion(1), RequestId(), {}});
  session_.OnCheckpointWritten(run_, Rank(1), {Step(9), PlanVersion(1), RequestId(), {}});
  EXPECT_THAT(Said(session_.OnMessage(Welcome{Term(2)})),
              ElementsAre("CheckpointWritten{term 2 job demo gen 1 step 9 v1 0 files}"));
  EXPECT_THAT(Said(session_.OnCheckpointWritten({JobId("demo"), Generation(9)}, Rank(0), first)), IsEmpty());
}

TEST_F(SessionTest, PublishingIsForTheGenerationInHandAlsoAfterItsRanksEnded) {
  Assigned();
  for (int rank = 0; rank < 2; ++rank) session_.OnFinished(run_, Rank(rank), Step(5), true);
  const SessionActions publish = session_.OnMessage(PublishCheckpoint{StampAt(1), Step(5), "{}"});
  ASSERT_EQ(publish.publish.size(), 1u);
  EXPECT_THAT(Said(session_.OnCheckpointPublished(run_, Step(5))),
              ElementsAre("CheckpointPublished{term 1 job demo gen 1 step 5}"));
  EXPECT_THAT(Said(session_.OnCheckpointFailed(run_, Step(5), false, "no room")),
              ElementsAre("CheckpointFailed{term 1 job demo gen 1 step 5: no room}"));
  EXPECT_THAT(session_.OnMessage(PublishCheckpoint{StampAt(1, 2), Step(5), "{}"}).publish, IsEmpty());
  ASSERT_EQ(session_.OnMessage(PruneCheckpoints{StampAt(1), Generation(1), {"x"}}).prune.size(), 1u);
  EXPECT_THAT(session_.OnMessage(PruneCheckpoints{StampAt(1, 2), Generation(1), {"x"}}).prune, IsEmpty());
}

TEST_F(SessionTest, ACheckpointOfAnotherStepThanTheOneBeforeTheStartIsRefused) {
  Assign assign = MakeAssign();
  assign.start_step = Step(8);
  assign.checkpoint = CheckpointRef{"/c/demo/step-000000005-g1", Step(5)};
  const SessionActions actions = session_.OnMessage(assign);
  EXPECT_FALSE(actions.start.has_value());
  ASSERT_EQ(actions.send.size(), 1u);
  EXPECT_THAT(ToString(actions.send[0]), HasSubstr("checkpoint.step: found 5, allowed 7"));
}

}  // namespace
}  // namespace ballast
