#include "worker/session.h"

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "protocol/version.h"
#include "tests/worker/session/session_fixture.h"

namespace ballast {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

TEST_F(SessionTest, AssignStartsTheLocalRanksOnce) {
  const SessionActions actions = session_.OnMessage(MakeAssign());
  ASSERT_TRUE(actions.start.has_value());
  EXPECT_THAT(actions.start->local_ranks, ElementsAre(Rank(0), Rank(1)));
  EXPECT_FALSE(actions.abort.has_value());
  // Said again by a new leader: nothing starts twice.
  EXPECT_FALSE(session_.OnMessage(MakeAssign(/*term=*/2)).start.has_value());
  const Hello hello = session_.MakeHello();
  EXPECT_EQ(hello.protocol_version, kProtocolVersion);
  EXPECT_EQ(hello.job, JobId("demo"));
  EXPECT_EQ(hello.generation, Generation(1));
  EXPECT_EQ(hello.active, PlanVersion(1));
  EXPECT_EQ(hello.highest_term, Term(2));
  EXPECT_EQ(hello.step, Step(0));
}

TEST_F(SessionTest, AnAssignmentThatCannotBeCarriedOutIsAFailureOfTheJob) {
  Assign bad = MakeAssign();
  auto plan = SmallPlan(3, 1, 0);
  plan->body.layers[0].slots[0][0] = ExpertId(99);
  bad.plan = plan;
  const SessionActions actions = session_.OnMessage(bad);
  EXPECT_FALSE(actions.start.has_value());
  EXPECT_THAT(Said(actions), ElementsAre(AllOf(HasSubstr("JobFailure"), HasSubstr("expert 99"))));
  // It is said again to whoever welcomes this worker next.
  EXPECT_THAT(Said(session_.OnMessage(Welcome{Term(2)})), ElementsAre(HasSubstr("JobFailure{term 2")));
}

TEST_F(SessionTest, HostileAssignmentsAreRefused) {
  const std::vector<std::pair<std::string, std::function<void(Assign&)>>> cases = {
      {"no job or no plan", [](Assign& a) { a.plan = nullptr; }},
      {"no job or no plan", [](Assign& a) { a.job = nullptr; }},
      {"do not belong together", [](Assign& a) { a.job = SmallJob("other", 3); }},
      {"start_step: found 0", [](Assign& a) { a.start_step = Step(0); }},
      {"members[1].rank: found 5", [](Assign& a) { a.members[1].rank = Rank(5); }},
      {"members[1].local_rank: found 2", [](Assign& a) { a.members[1].local_rank = 2; }},
      {"members[1].local_rank: found 0", [](Assign& a) { a.members[1].local_rank = 0; }},
      {"members[0].local_rank: found -1", [](Assign& a) { a.members[0].local_rank = -1; }},
      {"do not take its devices from the first on",
       [](Assign& a) { a.members.erase(a.members.begin(), a.members.end()); }},
  };
  for (const auto& [expected, spoil] : cases) {
    Session session(Options());
    Assign assign = MakeAssign();
    spoil(assign);
    const SessionActions actions = session.OnMessage(assign);
    EXPECT_FALSE(actions.start.has_value()) << expected;
    EXPECT_THAT(Said(actions), ElementsAre(HasSubstr(expected)));
  }
}

TEST_F(SessionTest, AnAssignmentForAnotherProcessOrAnOldGenerationIsIgnored) {
  Assign other = MakeAssign();
  for (Member& member : other.members) member.incarnation = Incarnation(99);
  EXPECT_THAT(session_.OnMessage(other).notes, ElementsAre(HasSubstr("another process of this name")));
  // An Abort that overtook its Assign.
  session_.OnMessage(Abort{StampAt(1), "over"});
  const SessionActions late = session_.OnMessage(MakeAssign());
  EXPECT_FALSE(late.start.has_value());
  EXPECT_THAT(late.notes, ElementsAre(HasSubstr("it is over")));
}

TEST_F(SessionTest, StagedIsAPromiseThatOnlyWithdrawReleases) {
  Assigned();
  const PlanPtr plan = OtherPlan(3, 2, 1);
  EXPECT_THAT(Said(StageOf(plan)), ElementsAre(HasSubstr("Staged{term 1 job demo gen 1 v2")));
  EXPECT_EQ(session_.Held(PlanVersion(2), Digest(*plan)), plan);
  EXPECT_EQ(session_.Cells().staged, plan);
  // F1: a new term does not release it, and its Stage is answered without another check.
  room_ = absl::ResourceExhaustedError("no room");
  EXPECT_THAT(Said(StageOf(plan, /*term=*/2)), ElementsAre(HasSubstr("Staged{term 2 job demo gen 1 v2")));
  // Withdraw of another version or digest is not this promise's.
  session_.OnMessage(Withdraw{StampAt(2), PlanVersion(3), Digest(*plan)});
  session_.OnMessage(Withdraw{StampAt(2), PlanVersion(2), PlanDigest(1)});
  EXPECT_NE(session_.Cells().staged, nullptr);
  session_.OnMessage(Withdraw{StampAt(2), PlanVersion(2), Digest(*plan)});
  EXPECT_EQ(session_.Cells().staged, nullptr);
  EXPECT_EQ(session_.Held(PlanVersion(2), Digest(*plan)), nullptr);
  EXPECT_THAT(Said(StageOf(plan, /*term=*/2)),
              ElementsAre(AllOf(HasSubstr("Rejected"), HasSubstr(": no room"), Not(HasSubstr("for good")))));
}

TEST_F(SessionTest, LowerTermsAreNotObeyed) {
  Assigned();
  session_.OnMessage(Welcome{Term(5)});
  const SessionActions stage = StageOf(OtherPlan(3, 2, 1), /*term=*/4);
  EXPECT_THAT(Said(stage), IsEmpty());
  EXPECT_THAT(stage.notes, ElementsAre("ignored a message of term 4: term 5 leads"));
  EXPECT_FALSE(session_.OnMessage(Abort{StampAt(4), "old"}).abort.has_value());
  session_.OnMessage(Commit{StampAt(4), PlanVersion(2), PlanDigest(), Step()});
  EXPECT_EQ(session_.Cells().committed, PlanVersion(0));
  EXPECT_EQ(session_.highest_term(), Term(5));
}

TEST_F(SessionTest, OnePromiseAtATimeUntilActiveEverywhere) {
  Assigned();
  const PlanPtr plan = OtherPlan(3, 2, 1);
  StageOf(plan);
  EXPECT_THAT(
      Said(StageOf(SmallPlan(3, 3, 1))),
      ElementsAre(AllOf(HasSubstr(": plan 2 is promised and not resolved yet"), Not(HasSubstr("for good")))));
  auto other_content = SmallPlan(3, 2, 1);
  EXPECT_THAT(Said(StageOf(other_content)),
              ElementsAre(HasSubstr("plan 2 is promised with another content")));
  // Of another content of that version: this rank may not run what it has promised.
  EXPECT_THAT(session_.OnMessage(Commit{StampAt(1), PlanVersion(2), Digest(*other_content), Step()}).notes,
              ElementsAre(HasSubstr("another content than the one promised here")));
  EXPECT_EQ(session_.Cells().committed, PlanVersion(0));
  session_.OnMessage(Commit{StampAt(1), PlanVersion(2), Digest(*plan), Step()});
  EXPECT_EQ(session_.Cells().committed, PlanVersion(2));
  session_.OnDecided(run_, Rank(0), PlanVersion(2), Step(9));
  // Decided by one rank: the promise stays for the other one, and nothing takes it back.
  EXPECT_THAT(session_.OnMessage(Withdraw{StampAt(1), PlanVersion(2), Digest(*plan)}).notes,
              ElementsAre(HasSubstr("has decided it")));
  EXPECT_EQ(session_.Held(PlanVersion(2), Digest(*plan)), plan);
  EXPECT_THAT(Switch(2, 9), ElementsAre("Active{term 1 job demo gen 1 v2 since step 9}"));
  EXPECT_EQ(session_.Cells().staged, nullptr);
  EXPECT_EQ(session_.active(), plan);
  // Asked again, it says again since when.
  EXPECT_THAT(Said(StageOf(plan)), ElementsAre("Active{term 1 job demo gen 1 v2 since step 9}"));
  EXPECT_THAT(StageOf(SmallPlan(3, 1, 0)).notes, ElementsAre(HasSubstr("plan 2 is active")));
  EXPECT_THAT(Said(StageOf(SmallPlan(3, 3, 2))), ElementsAre(HasSubstr("Staged")));
}

TEST_F(SessionTest, HostilePlansAreRejectedWithTheReason) {
  Assigned();
  const std::vector<std::pair<std::string, std::function<void(Plan&)>>> cases = {
      {"base_version: found 9, the active plan is 1", [](Plan& p) { p.stamp.base_version = PlanVersion(9); }},
      {"another job or generation", [](Plan& p) { p.stamp.job = JobId("other"); }},
      {"another job or generation", [](Plan& p) { p.stamp.generation = Generation(2); }},
      {"expert -1", [](Plan& p) { p.body.layers[0].slots[0][0] = ExpertId(-1); }},
      {"expert 4", [](Plan& p) { p.body.layers[0].slots[0][0] = ExpertId(4); }},
      {"homes", [](Plan& p) { p.body.homes.pop_back(); }},
      {"homes", [](Plan& p) { p.body.homes[0] = Rank(3); }},
      {"layers", [](Plan& p) { p.body.layers.clear(); }},
      {"no slot",
       [](Plan& p) {
         for (auto& rank : p.body.layers[0].slots) {
           for (Slot& slot : rank) {
             if (slot == ExpertId(1)) slot.reset();
           }
         }
       }},
      {"all_to_all", [](Plan& p) { p.body.layers[0].schedule.all_to_all = "magic"; }},
      {"stays", [](Plan& p) { std::swap(p.body.layers[0].slots[0][0], p.body.layers[0].slots[0][3]); }},
  };
  for (const auto& [expected, spoil] : cases) {
    auto plan = OtherPlan(3, 2, 1);
    spoil(*plan);
    const std::vector<std::string> said = Said(StageOf(plan));
    ASSERT_THAT(said, ElementsAre(AllOf(HasSubstr("Rejected"), HasSubstr(expected))));
    // What is wrong with the content itself is refused for good, what is wrong with its moment is not.
    const bool content = plan->body != OtherPlan(3, 2, 1)->body;
    EXPECT_EQ(said[0].find(" for good: ") != std::string::npos, content) << said[0];
    EXPECT_EQ(session_.Cells().staged, nullptr) << expected;
  }
  EXPECT_THAT(session_.OnMessage(Stage{StampAt(1), nullptr}).notes, ElementsAre(HasSubstr("without a plan")));
  EXPECT_THAT(Said(StageOf(OtherPlan(3, 2, 1))), ElementsAre(HasSubstr("Staged")));
}

// The check is asked about the plans that memory is shared by, in the order in which they run.
TEST_F(SessionTest, TheMemoryCheckSeesTheWholeSwitchAndItsRefusalIsTheReason) {
  Assigned();
  const PlanPtr first = session_.active();
  EXPECT_EQ(asked_, std::vector<PlanBody>{first->body});
  const PlanPtr second = OtherPlan(3, 2, 1);
  room_ = absl::ResourceExhaustedError("needs 120 bytes, allowed are 100");
  EXPECT_THAT(Said(StageOf(second)),
              ElementsAre(AllOf(HasSubstr("Rejected"), HasSubstr("v2"),
                                HasSubstr("needs 120 bytes, allowed are 100"), Not(HasSubstr("for good")))));
  EXPECT_EQ(session_.Cells().staged, nullptr) << "nothing was promised";
  EXPECT_EQ(asked_, (std::vector<PlanBody>{first->body, second->body}));
  // What no moment changes is refused for good.
  room_ = absl::InvalidArgumentError("the windows are too small");
  EXPECT_THAT(Said(StageOf(second)), ElementsAre(HasSubstr("for good: the windows are too small")));
  room_ = absl::OkStatus();
  EXPECT_THAT(Said(StageOf(second)), ElementsAre(HasSubstr("Staged")));

  // From step 5 on. What left its home with that switch is kept until step 6 is done on both ranks.
  Switch(2, 5);
  for (int rank = 0; rank < 2; ++rank) session_.OnStepDone(run_, Rank(rank), Step(5));
  session_.OnStepDone(run_, Rank(1), Step(6));
  const PlanPtr third = SmallPlan(3, 3, 2);
  StageOf(third);
  EXPECT_EQ(asked_, (std::vector<PlanBody>{first->body, second->body, third->body}));
  session_.OnMessage(Withdraw{StampAt(1), PlanVersion(3), Digest(*third)});
  session_.OnStepDone(run_, Rank(0), Step(6));
  const PlanPtr fourth = SmallPlan(3, 4, 2);
  StageOf(fourth);
  EXPECT_EQ(asked_, (std::vector<PlanBody>{second->body, fourth->body}));
}

TEST_F(SessionTest, ANewGenerationClearsTheCells) {
  Assigned();
  const PlanPtr promised = OtherPlan(3, 2, 1);
  StageOf(promised);
  session_.OnMessage(Commit{StampAt(1), PlanVersion(2), Digest(*promised), Step()});
  EXPECT_EQ(session_.Cells().committed, PlanVersion(2));
  session_.OnMessage(StepRequest{StampAt(1), RequestId(4), RequestKind::kStop});
  Assign next = MakeAssign();
  next.stamp.generation = Generation(2);
  auto plan = SmallPlan(3, 3, 0);
  plan->stamp.generation = Generation(2);
  next.plan = plan;
  const SessionActions actions = session_.OnMessage(next);
  ASSERT_TRUE(actions.abort.has_value());
  EXPECT_EQ(actions.abort->run, run_);
  ASSERT_TRUE(actions.start.has_value());
  const HeaderCells cells = session_.Cells();
  EXPECT_EQ(cells.staged, nullptr);
  EXPECT_EQ(cells.committed, PlanVersion(0));
  EXPECT_EQ(cells.request, RequestId(0));
  // A rank of the old generation that has not ended yet changes nothing.
  EXPECT_THAT(Said(session_.OnStarted(run_, Rank(0))), IsEmpty());
}

TEST_F(SessionTest, WhatMayHaveBeenLostIsSaidAgainAfterWelcome) {
  Assigned();
  session_.OnRendezvousPut(run_, "rank0", "address");
  EXPECT_THAT(Said(session_.OnStarted(run_, Rank(0))), IsEmpty());
  EXPECT_THAT(Said(session_.OnStarted(run_, Rank(1))), ElementsAre("Started{term 1 job demo gen 1}"));
  EXPECT_THAT(Said(session_.OnMessage(Welcome{Term(2)})),
              ElementsAre(HasSubstr("RendezvousPut{term 2"), "Started{term 2 job demo gen 1}"));
  // After a step everybody has met.
  session_.OnStepDone(run_, Rank(0), Step(1));
  EXPECT_THAT(Said(session_.OnMessage(Welcome{Term(2)})), ElementsAre("Started{term 2 job demo gen 1}"));
  session_.OnFinished(run_, Rank(0), Step(100), false);
  EXPECT_THAT(Said(session_.OnFinished(run_, Rank(1), Step(100), false)),
              ElementsAre("Finished{term 2 job demo gen 1 step 100}"));
  EXPECT_THAT(Said(session_.OnMessage(Welcome{Term(3)})),
              ElementsAre("Started{term 3 job demo gen 1}", "Finished{term 3 job demo gen 1 step 100}"));
  EXPECT_TRUE(session_.OnMessage(Abort{StampAt(3), "done"}).abort.has_value());
  EXPECT_THAT(Said(session_.OnMessage(Welcome{Term(3)})), IsEmpty());
  EXPECT_TRUE(session_.MakeHello().job.empty());
}

TEST_F(SessionTest, TheFirstFailureIsTheOneThatIsTold) {
  Assigned();
  EXPECT_THAT(Said(session_.OnLostPeer(run_, Rank(2), "connection reset")),
              ElementsAre("LostPeer{term 1 job demo gen 1 rank 2: connection reset}"));
  EXPECT_THAT(Said(session_.OnFailure(run_, Step(3), "aborted")), IsEmpty());
  EXPECT_THAT(Said(StageOf(OtherPlan(3, 2, 1))),
              ElementsAre(HasSubstr("the ranks of this worker do not run")));
  EXPECT_EQ(session_.MakeHello().job, JobId("demo"));
}

TEST_F(SessionTest, APlanThatCannotBeReadIsRejectedUnlessItsMessageIsStale) {
  Assigned();
  const UnreadableStage stage{StampAt(2), PlanVersion(2), PlanDigest(0xabc), "homes[3]: found -1"};
  EXPECT_THAT(Said(session_.OnUnreadableStage(stage)),
              ElementsAre(AllOf(HasSubstr("Rejected{term 2 job demo gen 1 v2"), HasSubstr("abc"),
                                HasSubstr("cannot be read: homes[3]: found -1"))));
  EXPECT_EQ(session_.MakeHello().staged, PlanVersion());
  UnreadableStage stale = stage;
  stale.stamp = StampAt(1);
  EXPECT_THAT(Said(session_.OnUnreadableStage(stale)), IsEmpty());
  stale.stamp = StampAt(2, /*generation=*/9);
  EXPECT_THAT(Said(session_.OnUnreadableStage(stale)), IsEmpty());
}

TEST_F(SessionTest, WhatFailsAfterTheLastRankHasFinishedIsNotTold) {
  Assigned();
  session_.OnFinished(run_, Rank(0), Step(100), false);
  EXPECT_THAT(Said(session_.OnFinished(run_, Rank(1), Step(100), false)), ElementsAre(HasSubstr("Finished")));
  EXPECT_THAT(Said(session_.OnLostPeer(run_, Rank(2), "connection reset")), IsEmpty());
  EXPECT_THAT(Said(session_.OnFailure(run_, Step(101), "worker w1 was stopped")), IsEmpty());
  EXPECT_THAT(Said(session_.OnMessage(Welcome{Term(2)})), ElementsAre(HasSubstr("Finished{term 2")));
  // One rank alone does not end the others.
  Assign next = MakeAssign(/*term=*/2);
  next.stamp.generation = Generation(2);
  auto plan = SmallPlan(3, 1, 0);
  plan->stamp.generation = Generation(2);
  next.plan = plan;
  ASSERT_TRUE(session_.OnMessage(next).start.has_value());
  const RunId run{JobId("demo"), Generation(2)};
  session_.OnFinished(run, Rank(0), Step(100), false);
  EXPECT_THAT(Said(session_.OnFailure(run, Step(100), "no memory")), ElementsAre(HasSubstr("no memory")));
}

TEST_F(SessionTest, RanksThatSwitchAtDifferentStepsFailTheJob) {
  Assigned();
  StageOf(OtherPlan(3, 2, 1));
  for (int rank = 0; rank < 2; ++rank) session_.OnDecided(run_, Rank(rank), PlanVersion(2), Step(9));
  session_.OnActive(run_, Rank(0), PlanVersion(2), Step(9));
  EXPECT_THAT(Said(session_.OnActive(run_, Rank(1), PlanVersion(2), Step(10))),
              ElementsAre(HasSubstr("at steps 10 and 9")));
}

TEST_F(SessionTest, RequestsOnlyGrow) {
  Assigned();
  session_.OnMessage(StepRequest{StampAt(1), RequestId(4), RequestKind::kStop});
  session_.OnMessage(StepRequest{StampAt(1), RequestId(3), RequestKind::kCheckpoint});
  EXPECT_EQ(session_.Cells().request, RequestId(4));
  EXPECT_EQ(session_.Cells().request_kind, RequestKind::kStop);
}

TEST_F(SessionTest, RefusedForGoodMeansLeaving) {
  EXPECT_FALSE(session_.OnMessage(Refused{"not now", true}).leave);
  const SessionActions actions = session_.OnMessage(Refused{"protocol version", false});
  EXPECT_TRUE(actions.leave);
  EXPECT_THAT(actions.notes, ElementsAre(HasSubstr("protocol version")));
}

}  // namespace
}  // namespace ballast
