#include <algorithm>
#include <set>

#include "tests/worker/backend/backend_fixture.h"

namespace ballast {
namespace {

template <class T>
struct Routed {
  std::vector<T> probabilities;
  std::vector<int32_t> experts;
  std::vector<T> weights;
  std::vector<double> log_sum_exp;
};

template <class T>
class RouterTest : public BackendTest<T> {
 protected:
  Routed<T> Run(std::vector<T>& logits, int64_t rows, int64_t columns, int top_k) {
    Routed<T> r{this->Poisoned(rows * columns), std::vector<int32_t>(rows * top_k, -7),
                this->Poisoned(rows * top_k), std::vector<double>(rows, NAN)};
    this->backend_->RouterForward(*this->stream_, this->View(logits, rows, columns), top_k,
                                  this->View(r.probabilities, rows, columns), r.experts.data(),
                                  this->View(r.weights, rows, top_k), r.log_sum_exp.data());
    return r;
  }
};
TYPED_TEST_SUITE(RouterTest, CpuTypes);

TYPED_TEST(RouterTest, AgreesWithASortForEveryK) {
  const int64_t rows = 11, columns = 5;
  for (int top_k = 1; top_k <= columns; ++top_k) {
    std::vector<TypeParam> logits = this->Random(rows * columns, 2);
    Routed<TypeParam> r = this->Run(logits, rows, columns, top_k);
    for (int64_t i = 0; i < rows; ++i) {
      std::vector<std::pair<double, int>> order;  // (-logit, expert): ties go to the lower expert
      double sum = 0;
      for (int e = 0; e < columns; ++e) {
        order.push_back({-static_cast<double>(logits[i * columns + e]), e});
        sum += std::exp(static_cast<double>(logits[i * columns + e]));
      }
      std::sort(order.begin(), order.end());
      double kept = 0;
      for (int k = 0; k < top_k; ++k) kept += std::exp(-order[k].first);
      for (int k = 0; k < top_k; ++k) {
        EXPECT_EQ(r.experts[i * top_k + k], order[k].second) << "row " << i << " of k " << top_k;
        EXPECT_NEAR(r.weights[i * top_k + k], std::exp(-order[k].first) / kept, this->kTolerance);
      }
      for (int e = 0; e < columns; ++e) {
        EXPECT_NEAR(r.probabilities[i * columns + e], std::exp(logits[i * columns + e]) / sum,
                    this->kTolerance);
      }
      EXPECT_NEAR(r.log_sum_exp[i], std::log(sum), 1e-6);
    }
  }
}

TYPED_TEST(RouterTest, TiesGoToTheLowestExpert) {
  std::vector<TypeParam> logits = {1, 2, 2, 2, 0, 0, 0, 0};
  Routed<TypeParam> r = this->Run(logits, 2, 4, 2);
  EXPECT_EQ(r.experts, (std::vector<int32_t>{1, 2, 0, 1}));
  EXPECT_EQ(r.weights, (std::vector<TypeParam>{0.5, 0.5, 0.5, 0.5}));
}

TYPED_TEST(RouterTest, WithOneExpertChosenItsWeightIsOne) {
  std::vector<TypeParam> logits = this->Random(3 * 4);
  EXPECT_EQ(this->Run(logits, 3, 4, 1).weights, (std::vector<TypeParam>{1, 1, 1}));
}

TYPED_TEST(RouterTest, NonFiniteLogitsStillRouteInBounds) {
  const TypeParam nan = std::numeric_limits<TypeParam>::quiet_NaN();
  const TypeParam infinity = std::numeric_limits<TypeParam>::infinity();
  std::vector<TypeParam> logits = {nan,      1,        2, 1,         nan,       1,
                                   infinity, infinity, 0, -infinity, -infinity, -infinity};
  Routed<TypeParam> r = this->Run(logits, 4, 3, 2);
  for (int i = 0; i < 4; ++i) {
    EXPECT_NE(r.experts[2 * i], r.experts[2 * i + 1]);
    for (int k = 0; k < 2; ++k) {
      EXPECT_GE(r.experts[2 * i + k], 0);
      EXPECT_LT(r.experts[2 * i + k], 3);
    }
  }
}

TYPED_TEST(RouterTest, NoRowsAreFine) {
  std::vector<TypeParam> none;
  this->Run(none, 0, 4, 2);
}

class RouterGradientTest : public GradientTest {};

// loss = <weights, a> + <probabilities, b> + z sum(lse^2); differences are small enough that no choice
// changes.
TEST_F(RouterGradientTest, AgreesWithDifferencesForEveryK) {
  const int64_t rows = 4, columns = 5;
  const double z = 0.03;
  for (int top_k = 1; top_k <= columns; ++top_k) {
    std::vector<double> logits = Random(rows * columns), a = Random(rows * top_k), b = Random(rows * columns);
    std::vector<double> probabilities(rows * columns), weights(rows * top_k), log_sum_exp(rows);
    std::vector<int32_t> experts(rows * top_k);
    auto loss = [&] {
      backend_->RouterForward(*stream_, View(logits, rows, columns), top_k,
                              View(probabilities, rows, columns), experts.data(), View(weights, rows, top_k),
                              log_sum_exp.data());
      return Dot(weights, a) + Dot(probabilities, b) + z * Dot(log_sum_exp, log_sum_exp);
    };
    std::vector<double> expected = Differences(logits, loss);
    loss();
    std::vector<double> gradient = Poisoned(rows * columns);
    backend_->RouterBackward(*stream_, View(probabilities, rows, columns), experts.data(),
                             View(weights, rows, top_k), View(a, rows, top_k), View(b, rows, columns),
                             log_sum_exp.data(), z, View(gradient, rows, columns));
    ExpectNear(gradient, expected, kDifferenceTolerance);
  }
}

class LoadBalanceTest : public GradientTest {};

TEST_F(LoadBalanceTest, AgreesWithLoopsAndDifferences) {
  const int64_t sequences = 3, length = 4, columns = 5;
  for (int top_k : {1, 2, 5}) {
    const int64_t rows = sequences * length;
    std::vector<double> logits = Random(rows * columns), probabilities(rows * columns), weights(rows * top_k),
                        log_sum_exp(rows);
    std::vector<int32_t> experts(rows * top_k);
    backend_->RouterForward(*stream_, View(logits, rows, columns), top_k, View(probabilities, rows, columns),
                            experts.data(), View(weights, rows, top_k), log_sum_exp.data());
    std::vector<double> loss(sequences, NAN), gradient = Poisoned(rows * columns);
    auto run = [&] {
      backend_->LoadBalance(*stream_, View(probabilities, rows, columns), experts.data(), top_k, sequences,
                            0.25, loss.data(), View(gradient, rows, columns));
      return 0.25 * (loss[0] + loss[1] + loss[2]);
    };
    run();
    for (int64_t s = 0; s < sequences; ++s) {
      double expected = 0;
      for (int e = 0; e < columns; ++e) {
        double routed = 0, mass = 0;
        for (int64_t i = s * length; i < (s + 1) * length; ++i) {
          mass += probabilities[i * columns + e];
          for (int k = 0; k < top_k; ++k) routed += experts[i * top_k + k] == e;
        }
        expected += columns * routed / (length * top_k) * mass / length;
      }
      EXPECT_NEAR(loss[s], expected, 1e-12);
      if (top_k == columns) {
        EXPECT_NEAR(loss[s], 1, 1e-12) << "evenly routed";
      }
    }
    std::vector<double> expected_gradient = Differences(probabilities, run);
    ExpectNear(gradient, expected_gradient, kDifferenceTolerance);
  }
}

}  // namespace
}  // namespace ballast
