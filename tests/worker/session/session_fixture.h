// A session to talk to, shared by the tests of what it promises and of its checkpoints.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/worker/session/small_plans.h"
#include "worker/session.h"

namespace ballast {

// What the session says, one line each.
inline std::vector<std::string> Said(const SessionActions& actions) {
  std::vector<std::string> lines;
  for (const WorkerMessage& message : actions.send) lines.push_back(ToString(message));
  return lines;
}

// Worker w1 runs ranks 0 and 1 of three.
class SessionTest : public testing::Test {
 protected:
  SessionTest() : session_(Options()) {}

  SessionOptions Options() {
    SessionOptions options;
    options.identity.worker = WorkerId("w1");
    options.identity.incarnation = Incarnation(7);
    options.identity.ranks = 2;
    options.memory_check = [this](const JobConfig&, const ParameterLayout&,
                                  const std::vector<const PlanBody*>& plans, const std::vector<Rank>&) {
      asked_.clear();
      for (const PlanBody* plan : plans) asked_.push_back(*plan);
      return room_;
    };
    return options;
  }
  Stamp StampAt(int64_t term, int64_t generation = 1) {
    return {Term(term), JobId("demo"), Generation(generation)};
  }
  Assign MakeAssign(int64_t term = 1) {
    Assign assign;
    assign.stamp = StampAt(term);
    assign.job = SmallJob("demo", 3);
    for (int rank = 0; rank < 3; ++rank) {
      Member member;
      member.rank = Rank(rank);
      member.worker = WorkerId(rank < 2 ? "w1" : "w2");
      member.incarnation = Incarnation(rank < 2 ? 7 : 8);
      member.local_rank = rank < 2 ? rank : 0;
      assign.members.push_back(member);
    }
    assign.plan = SmallPlan(3, 1, 0);
    assign.start_step = Step(1);
    return assign;
  }
  void Assigned() { ASSERT_TRUE(session_.OnMessage(MakeAssign()).start.has_value()); }
  SessionActions StageOf(PlanPtr plan, int64_t term = 1) {
    return session_.OnMessage(Stage{StampAt(term), std::move(plan)});
  }
  // Both local ranks decide and run `version` from `step` on.
  std::vector<std::string> Switch(int64_t version, int64_t step) {
    for (int rank = 0; rank < 2; ++rank)
      session_.OnDecided(run_, Rank(rank), PlanVersion(version), Step(step));
    EXPECT_THAT(Said(session_.OnActive(run_, Rank(1), PlanVersion(version), Step(step))), testing::IsEmpty());
    return Said(session_.OnActive(run_, Rank(0), PlanVersion(version), Step(step)));
  }

  absl::Status room_;
  std::vector<PlanBody> asked_;  // the plans of the last memory check
  const RunId run_{JobId("demo"), Generation(1)};
  Session session_;
};

}  // namespace ballast
