#include <algorithm>
#include <tuple>

#include "tests/worker/backend/backend_fixture.h"

namespace ballast {
namespace {

struct Order {
  std::vector<int64_t> counts, token_of, row_of;
};

class SortAssignments : public BackendTest<float> {
 protected:
  Order Sort(const std::vector<int32_t>& choices, int top_k, int experts) {
    Order order;
    order.counts.assign(experts, -1);
    order.token_of.assign(choices.size(), -1);
    order.row_of.assign(choices.size(), -1);
    backend_->SortAssignments(*stream_, choices.data(), static_cast<int64_t>(choices.size()) / top_k, top_k,
                              experts, order.counts.data(), order.token_of.data(), order.row_of.data());
    return order;
  }
};

TEST_F(SortAssignments, SortsByExpertThenTokenThenK) {
  const std::vector<int32_t> choices = {2, 0, 0, 2, 2, 1};  // three tokens, two experts each
  const Order order = Sort(choices, 2, 4);
  EXPECT_EQ(order.counts, (std::vector<int64_t>{2, 1, 3, 0}));
  EXPECT_EQ(order.token_of, (std::vector<int64_t>{0, 1, 2, 0, 1, 2}));
  EXPECT_EQ(order.row_of, (std::vector<int64_t>{3, 0, 1, 4, 5, 2}));
}

TEST_F(SortAssignments, OfNothingIsNothing) {
  const Order order = Sort({}, 2, 3);
  EXPECT_EQ(order.counts, (std::vector<int64_t>{0, 0, 0}));
  EXPECT_TRUE(order.token_of.empty());
  EXPECT_TRUE(order.row_of.empty());
}

TEST_F(SortAssignments, AgreesWithAStableSort) {
  for (int round = 0; round < 200; ++round) {
    const int experts = static_cast<int>(rng_.Between(1, 9));
    const int top_k = static_cast<int>(rng_.Between(1, experts));
    const int64_t tokens = rng_.Between(0, 30);
    std::vector<int32_t> choices;
    for (int64_t i = 0; i < tokens * top_k; ++i) choices.push_back(static_cast<int32_t>(rng_.Below(experts)));
    const Order order = Sort(choices, top_k, experts);

    std::vector<std::tuple<int32_t, int64_t>> sorted;  // (expert, token * top_k + k)
    for (size_t i = 0; i < choices.size(); ++i) sorted.emplace_back(choices[i], static_cast<int64_t>(i));
    std::sort(sorted.begin(), sorted.end());
    for (size_t row = 0; row < sorted.size(); ++row) {
      const int64_t assignment = std::get<1>(sorted[row]);
      ASSERT_EQ(order.row_of[assignment], static_cast<int64_t>(row))
          << "seed " << seed_ << " round " << round;
      ASSERT_EQ(order.token_of[row], assignment / top_k) << "seed " << seed_ << " round " << round;
    }
    for (int e = 0; e < experts; ++e) {
      EXPECT_EQ(order.counts[e], std::count(choices.begin(), choices.end(), e));
    }
  }
}

using SortAssignmentsDeathTest = SortAssignments;

TEST_F(SortAssignmentsDeathTest, AnExpertOutOfRangeIsOurMistake) {
  const std::vector<int32_t> choices = {0, 3};
  EXPECT_DEATH(Sort(choices, 1, 3), "expert 3 of 3");
}

}  // namespace
}  // namespace ballast
