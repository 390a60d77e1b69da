#include "worker/fence.h"

#include <limits>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/rng.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/worker/session/small_plans.h"

namespace ballast {
namespace {

using testing::HasSubstr;

constexpr int kRanks = 3;

StepHeader Row(int64_t step) {
  StepHeader header;
  header.generation = Generation(1);
  header.step = Step(step);
  header.split_hash = 77;
  return header;
}

std::vector<StepHeader> Table(int64_t step) { return std::vector<StepHeader>(kRanks, Row(step)); }

class FenceTest : public testing::Test {
 protected:
  FenceDecision Apply(const std::vector<StepHeader>& table) {
    auto decision = fence_.Apply(table[0].step, table, [this](PlanVersion version, PlanDigest digest) {
      return version == next_->stamp.version && digest == Digest(*next_) ? PlanPtr(next_) : nullptr;
    });
    EXPECT_TRUE(decision.ok()) << decision.status();
    return decision.ok() ? *decision : FenceDecision();
  }
  // Every row has staged `next_`; the rank `committed` has received its Commit.
  std::vector<StepHeader> Staged(int64_t step, int committed = 0) {
    std::vector<StepHeader> table = Table(step);
    for (StepHeader& row : table) {
      row.staged = next_->stamp.version;
      row.staged_digest = Digest(*next_);
    }
    table[static_cast<size_t>(committed)].committed = next_->stamp.version;
    return table;
  }

  const PlanPtr first_ = SmallPlan(kRanks, 1, 0);
  std::shared_ptr<Plan> next_ = OtherPlan(kRanks, 2, 1);
  Fence fence_{Rank(0), kRanks, first_, Step(1)};
};

TEST_F(FenceTest, OneCommitSwitchesAllRanksTwoStepsLater) {
  EXPECT_FALSE(Apply(Table(1)).decided.has_value());
  const FenceDecision decision = Apply(Staged(2, /*committed=*/2));
  ASSERT_TRUE(decision.decided.has_value());
  EXPECT_EQ(*decision.decided, PlanVersion(2));
  EXPECT_EQ(decision.switch_step, Step(4));
  EXPECT_EQ(fence_.PlanFor(Step(3)), first_);
  EXPECT_EQ(fence_.PlanFor(Step(4)), next_);
  EXPECT_EQ(fence_.pending(), next_);
  EXPECT_EQ(fence_.active(), first_);
  // Decided once; the cells still show it.
  EXPECT_FALSE(Apply(Staged(3)).decided.has_value());
  EXPECT_FALSE(Apply(Staged(4)).decided.has_value());
  EXPECT_EQ(fence_.active(), next_);
  EXPECT_EQ(fence_.pending(), nullptr);
  EXPECT_EQ(fence_.PlanFor(Step(3)), first_);  // the step before can still be asked for
}

TEST_F(FenceTest, WithoutACommitOrWithOneRankUnstagedNothingIsDecided) {
  std::vector<StepHeader> table = Staged(1);
  table[0].committed = PlanVersion();
  EXPECT_FALSE(Apply(table).decided.has_value());
  for (int missing = 0; missing < kRanks; ++missing) {
    std::vector<StepHeader> partial = Staged(2 + missing);
    partial[static_cast<size_t>(missing)].staged = PlanVersion();
    EXPECT_FALSE(Apply(partial).decided.has_value()) << "rank " << missing;
  }
  EXPECT_TRUE(Apply(Staged(2 + kRanks)).decided.has_value());
}

TEST_F(FenceTest, DifferentDigestsAreToldAndNotDecided) {
  std::vector<StepHeader> table = Staged(1);
  table[1].staged_digest = PlanDigest(9);
  const FenceDecision decision = Apply(table);
  EXPECT_FALSE(decision.decided.has_value());
  EXPECT_THAT(decision.alarm, HasSubstr("ranks 0 and 1 have staged plan 2 with different digests"));
  EXPECT_TRUE(decision.update);
}

TEST_F(FenceTest, NotBeforeStepIsReachedFirst) {
  next_->stamp.not_before_step = Step(6);
  EXPECT_FALSE(Apply(Staged(1)).decided.has_value());
  EXPECT_FALSE(Apply(Staged(2)).decided.has_value());
  EXPECT_FALSE(Apply(Staged(3)).decided.has_value());
  const FenceDecision decision = Apply(Staged(4));
  ASSERT_TRUE(decision.decided.has_value());
  EXPECT_EQ(decision.switch_step, Step(6));
}

TEST_F(FenceTest, OneRowThatIsNotOkSkipsTheUpdateEverywhereAndSaysWhere) {
  std::vector<StepHeader> table = Staged(1);
  table[2].failure = {FailureCause::kActivation, ModelPart::kLayer, 5};
  const FenceDecision decision = Apply(table);
  EXPECT_FALSE(decision.update);
  EXPECT_EQ(decision.failure, "step 1: layer 5, rank 2: an activation is not finite");
  // It does not enter the decision about plans.
  EXPECT_TRUE(decision.decided.has_value());
}

// What one rank met first made the others fail: it is told, whatever the rank.
TEST_F(FenceTest, TheFailureThatAStepMeetsFirstIsTold) {
  using enum FailureCause;
  using enum ModelPart;
  const std::vector<std::pair<StepFailure, std::string>> in_order = {
      {{kActivation, kEmbedding, -1}, "embedding, rank 1: an activation is not finite"},
      {{kActivation, kLayer, 3}, "layer 3, rank 1: an activation is not finite"},
      {{kLoss, kLayer, 3}, "layer 3, rank 1: a loss is not finite"},
      {{kActivation, kLayer, 4}, "layer 4, rank 1: an activation is not finite"},
      {{kLoss, kHead, -1}, "output head, rank 1: a loss is not finite"},
      {{kCheck, kUnknown, -1}, "rank 1: a check failed"},
      {{kGradient, kEmbedding, -1}, "embedding, rank 1: a gradient is not finite"},
      {{kGradient, kLayer, 0}, "layer 0, rank 1: a gradient is not finite"},
      {{kGradient, kHead, -1}, "output head, rank 1: a gradient is not finite"},
  };
  for (size_t i = 0; i < in_order.size(); ++i) {
    const int64_t step = static_cast<int64_t>(i) + 1;
    std::vector<StepHeader> table = Table(step);
    table[1].failure = in_order[i].first;
    if (i + 1 < in_order.size()) table[0].failure = table[2].failure = in_order[i + 1].first;
    EXPECT_EQ(Apply(table).failure, absl::StrCat("step ", step, ": ", in_order[i].second));
  }
}

TEST_F(FenceTest, UnequalSplitsSkipTheUpdate) {
  std::vector<StepHeader> table = Table(1);
  table[1].split_hash = 78;
  const FenceDecision decision = Apply(table);
  EXPECT_FALSE(decision.update);
  EXPECT_THAT(decision.failure, HasSubstr("ranks 0 and 1 split the tokens differently"));
}

TEST_F(FenceTest, TheHighestRequestIsCarriedOutOnceTwoStepsLater) {
  std::vector<StepHeader> table = Table(1);
  table[1].request = RequestId(3);
  table[1].request_kind = RequestKind::kStop;
  table[2].request = RequestId(2);
  table[2].request_kind = RequestKind::kCheckpoint;
  const FenceDecision decision = Apply(table);
  EXPECT_EQ(decision.request, RequestId(3));
  EXPECT_EQ(decision.request_kind, RequestKind::kStop);
  EXPECT_EQ(decision.request_step, Step(3));
  for (StepHeader& row : table) row.step = Step(2);
  EXPECT_EQ(Apply(table).request_kind, RequestKind::kNone);
}

TEST_F(FenceTest, ATableOfAnotherStepGenerationOrSizeIsAnError) {
  const Fence::HeldPlan none = [](PlanVersion, PlanDigest) { return nullptr; };
  EXPECT_THAT(fence_.Apply(Step(2), Table(2), none).status().message(),
              HasSubstr("the next one is that of step 1"));
  std::vector<StepHeader> table = Table(1);
  table.pop_back();
  EXPECT_THAT(fence_.Apply(Step(1), table, none).status().message(), HasSubstr("2 rows"));
  table = Table(1);
  table[1].generation = Generation(2);
  EXPECT_THAT(fence_.Apply(Step(1), table, none).status().message(),
              HasSubstr("the row of rank 1 is of step 1 of generation 2"));
  table = Table(1);
  table[2].step = Step(7);
  EXPECT_THAT(fence_.Apply(Step(1), table, none).status().message(),
              HasSubstr("the row of rank 2 is of step 7"));
  // None of them counted.
  EXPECT_TRUE(fence_.Apply(Step(1), Table(1), none).ok());
}

using FenceDeathTest = FenceTest;

TEST_F(FenceDeathTest, DecidedButNotHeldEndsTheProcess) {
  const std::vector<StepHeader> table = Staged(1);
  EXPECT_DEATH((void)fence_.Apply(Step(1), table, [](PlanVersion, PlanDigest) { return nullptr; }),
               "plan 2 is staged by every rank .* but rank 0 does not hold it");
}

// F3: ranks that see the same tables agree, whatever each of them holds beyond the promise.
TEST(FenceProperty, AllRanksReachTheSameDecisions) {
  const uint64_t seed = 20221207;
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  Rng rng(seed);
  int decided = 0;
  for (int round = 0; round < 300; ++round) {
    std::vector<PlanPtr> plans{SmallPlan(kRanks, 1, 0)};
    for (int64_t version = 2; version <= 6; ++version) {
      plans.push_back(OtherPlan(kRanks, version, version - 1, rng.Between(0, 20)));
    }
    std::vector<Fence> fences;
    for (int rank = 0; rank < kRanks; ++rank) fences.emplace_back(Rank(rank), kRanks, plans[0], Step(1));
    for (int64_t step = 1; step <= 25; ++step) {
      std::vector<StepHeader> table = Table(step);
      const int64_t version = rng.Between(2, 6);
      for (StepHeader& row : table) {
        const int64_t staged = rng.Chance(0.8) ? version : rng.Between(1, 6);
        row.staged = PlanVersion(staged);
        row.staged_digest = Digest(*plans[static_cast<size_t>(staged) - 1]);
        row.committed = PlanVersion(rng.Chance(0.3) ? version : rng.Between(0, version));
      }
      std::vector<FenceDecision> decisions;
      for (Fence& fence : fences) {
        auto decision =
            fence.Apply(Step(step), table, [&](PlanVersion v, PlanDigest) { return plans[v.index() - 1]; });
        ASSERT_TRUE(decision.ok());
        decisions.push_back(*decision);
        EXPECT_EQ(decision->decided, decisions[0].decided);
        EXPECT_EQ(fence.PlanFor(Step(step + 2)), fences[0].PlanFor(Step(step + 2)));
      }
      decided += decisions[0].decided.has_value();
    }
  }
  EXPECT_GT(decided, 100);
}

TEST(Header, SurvivesItsWireForm) {
  StepHeader header = Row(12345678901);
  header.failure = {FailureCause::kGradient, ModelPart::kHead, -1};
  header.staged = PlanVersion(std::numeric_limits<int64_t>::max());
  header.staged_digest = PlanDigest(~uint64_t{0});
  header.committed = PlanVersion(4);
  header.request = RequestId(9);
  header.request_kind = RequestKind::kDrain;
  EXPECT_EQ(DecodeHeader(EncodeHeader(header)), header);
  header.checkpoint_busy = true;
  EXPECT_EQ(DecodeHeader(EncodeHeader(header)), header);
  header.attached = true;
  EXPECT_EQ(DecodeHeader(EncodeHeader(header)), header);
  header.failure = {FailureCause::kActivation, ModelPart::kLayer, 61};
  EXPECT_EQ(DecodeHeader(EncodeHeader(header)), header);
  // A cause that only a newer rank knows is not taken for success.
  std::array<uint64_t, kHeaderWords> words = EncodeHeader(Row(1));
  EXPECT_TRUE(DecodeHeader(words).ok());
  words[2] = 77;
  EXPECT_EQ(DecodeHeader(words).failure.cause, FailureCause::kCheck);
}

TEST(Header, TheReporterIsTheLowestAttachedRank) {
  std::vector<StepHeader> table = Table(1);
  EXPECT_EQ(ReporterOf(table), Rank(0)) << "nobody is attached";
  table[2].attached = true;
  EXPECT_EQ(ReporterOf(table), Rank(2));
  table[1].attached = true;
  EXPECT_EQ(ReporterOf(table), Rank(1));
  table[0].attached = true;
  EXPECT_EQ(ReporterOf(table), Rank(0));
}

}  // namespace
}  // namespace ballast
