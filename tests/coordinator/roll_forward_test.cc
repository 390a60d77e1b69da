// When the ranks of a generation that is over may go on with what they hold, and from where.
#include "coordinator/roll_forward.h"

#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ballast {
namespace {

using testing::HasSubstr;

class RollForwardTest : public testing::Test {
 protected:
  // Workers a, with ranks 0 and 1, and b, with rank 2; generation 4 begins with step 11 on plan 5.
  RollForwardTest() {
    generation_.job = JobId("demo");
    generation_.generation = Generation(4);
    generation_.plan = PlanVersion(5);
    generation_.start_step = Step(11);
    for (int rank = 0; rank < 3; ++rank) {
      Member member;
      member.rank = Rank(rank);
      member.worker = WorkerId(rank < 2 ? "a" : "b");
      member.incarnation = Incarnation(rank < 2 ? 1 : 2);
      generation_.members.push_back(member);
    }
  }
  // The ranks' last updates, all under `plan`.
  void At(const std::vector<int64_t>& steps, int64_t plan = 5) {
    frozen_.clear();
    for (int rank = 0; rank < 3; ++rank) {
      const Member& member = generation_.members[static_cast<size_t>(rank)];
      Frozen& frozen = frozen_[member.worker];
      frozen.incarnation = member.incarnation;
      frozen.ranks.push_back(
          {Rank(rank), Step(steps[static_cast<size_t>(rank)]), PlanVersion(plan), /*holds=*/true});
    }
  }
  absl::StatusOr<RollForward> Decide() {
    return DecideRollForward(generation_, frozen_, checkpoint_, bugs_);
  }
  std::string WhyNot() {
    const absl::StatusOr<RollForward> forward = Decide();
    return forward.ok() ? "" : std::string(forward.status().message());
  }
  static RollForward To(int64_t step, int64_t plan = 5) { return {Step(step), PlanVersion(plan)}; }

  GenerationRecord generation_;
  std::map<WorkerId, Frozen> frozen_;
  Step checkpoint_{10};
  PlantedBugs bugs_;
};

TEST_F(RollForwardTest, ToTheHighestStepThatAnyRankHasApplied) {
  At({20, 20, 20});
  EXPECT_EQ(*Decide(), To(20));
  At({19, 20, 19});
  EXPECT_EQ(*Decide(), To(20));
  At({10, 10, 11});
  EXPECT_EQ(*Decide(), To(11)) << "one has applied the first step";
}

TEST_F(RollForwardTest, UnderThePlanOfThatStep) {
  At({20, 20, 20}, 6);
  frozen_[WorkerId("a")].ranks[0] = {Rank(0), Step(19), PlanVersion(5), true};
  EXPECT_EQ(*Decide(), To(20, 6));
  frozen_[WorkerId("b")].ranks[0].plan = PlanVersion(7);
  EXPECT_THAT(WhyNot(), HasSubstr("step 20 ran under plans 6 and 7"));
}

TEST_F(RollForwardTest, OnlyWhenEveryRankIsHeldByTheProcessThatRanIt) {
  At({20, 20, 20});
  frozen_.erase(WorkerId("b"));
  EXPECT_THAT(WhyNot(), HasSubstr("nobody holds the state of rank 2 of worker b"));
  At({20, 20, 20});
  frozen_[WorkerId("b")].incarnation = Incarnation(9);
  EXPECT_THAT(WhyNot(), HasSubstr("rank 2 of worker b")) << "another process of that name";
  At({20, 20, 20});
  frozen_[WorkerId("a")].ranks[1].holds = false;
  EXPECT_THAT(WhyNot(), HasSubstr("rank 1 of worker a"));
  At({20, 20, 20});
  frozen_[WorkerId("a")].ranks.pop_back();
  EXPECT_THAT(WhyNot(), HasSubstr("rank 1 of worker a"));
  At({20, 20, 20});
  frozen_[WorkerId("a")].ranks.push_back(frozen_[WorkerId("a")].ranks[1]);
  EXPECT_THAT(WhyNot(), HasSubstr("rank 1 of worker a")) << "said twice";
}

TEST_F(RollForwardTest, NotFromWhatCannotBe) {
  At({20, 18, 20});
  EXPECT_THAT(WhyNot(), HasSubstr("behind steps 18 to 20"));
  At({8, 8, 9});
  EXPECT_THAT(WhyNot(), HasSubstr("behind steps 8 to 9")) << "before the generation began";
  generation_.members.clear();
  EXPECT_FALSE(Decide().ok());
}

TEST_F(RollForwardTest, NotWhereTheCheckpointIsAsNew) {
  At({10, 10, 10});
  EXPECT_THAT(WhyNot(), HasSubstr("no step"));
  At({20, 20, 20});
  checkpoint_ = Step(20);
  EXPECT_THAT(WhyNot(), HasSubstr("the checkpoint after step 20 is as new"));
  checkpoint_ = Step(19);
  EXPECT_EQ(*Decide(), To(20));
}

TEST_F(RollForwardTest, AgainBeforeItsFirstStepIsDone) {
  generation_.retained = Generation(3);
  checkpoint_ = Step(4);
  At({10, 10, 10});
  EXPECT_EQ(*Decide(), To(10));
}

TEST_F(RollForwardTest, ThePlantedBugGoesToTheLowest) {
  bugs_ = PlantedBug::kRolledToLowest;
  At({19, 20, 20});
  EXPECT_EQ(*Decide(), To(19));
}

}  // namespace
}  // namespace ballast
