#include "worker/trainer/microbatches.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace ballast {
namespace {

TEST(Microbatches, SmallCasesByHand) {
  MicrobatchPlan plan = PlanMicrobatches(7, 3, 2);
  EXPECT_EQ(plan.microbatches, 2);
  EXPECT_EQ(plan.sequences, (std::vector<int64_t>{2, 2, 3}));
  EXPECT_EQ(plan.runs[0], (std::vector<SequenceRun>{{0, 2}, {2, 0}}));
  EXPECT_EQ(plan.runs[1], (std::vector<SequenceRun>{{2, 2}, {4, 0}}));
  EXPECT_EQ(plan.runs[2], (std::vector<SequenceRun>{{4, 2}, {6, 1}}));
  EXPECT_EQ(PlanMicrobatches(0, 2, 4).microbatches, 0);
}

TEST(Microbatches, EverySequenceOnceInOrder) {
  for (int64_t batch = 0; batch <= 20; ++batch) {
    for (int ranks = 1; ranks <= 7; ++ranks) {
      for (int64_t size = 1; size <= 5; ++size) {
        MicrobatchPlan plan = PlanMicrobatches(batch, ranks, size);
        int64_t next = 0, largest = 0;
        for (int rank = 0; rank < ranks; ++rank) {
          ASSERT_EQ(static_cast<int64_t>(plan.runs[rank].size()), plan.microbatches);
          int64_t mine = 0;
          for (const SequenceRun& run : plan.runs[rank]) {
            EXPECT_LE(run.count, size);
            if (run.count > 0) {
              EXPECT_EQ(run.first, next);
            }
            next += run.count;
            mine += run.count;
          }
          EXPECT_EQ(mine, plan.sequences[rank]);
          largest = std::max(largest, mine);
        }
        EXPECT_EQ(next, batch);
        EXPECT_LE(largest - *std::min_element(plan.sequences.begin(), plan.sequences.end()), 1);
        EXPECT_EQ(plan.microbatches, (largest + size - 1) / size) << "no more than the fullest rank needs";
      }
    }
  }
}

}  // namespace
}  // namespace ballast
