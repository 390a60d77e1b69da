#include <algorithm>
#include <numeric>

#include "tests/worker/backend/backend_fixture.h"

namespace ballast {
namespace {

constexpr int64_t kTokens = 5, kColumns = 7;

// A random order of 0..n-1.
std::vector<int64_t> Shuffled(Rng& rng, int64_t n) {
  std::vector<int64_t> order(n);
  std::iota(order.begin(), order.end(), 0);
  for (int64_t i = n - 1; i > 0; --i) std::swap(order[i], order[rng.Below(i + 1)]);
  return order;
}

template <class T>
class RowsTest : public BackendTest<T> {};
TYPED_TEST_SUITE(RowsTest, CpuTypes);

TYPED_TEST(RowsTest, GathersRowsByIndex) {
  std::vector<int64_t> index = Shuffled(this->rng_, kTokens);
  std::vector<TypeParam> in = this->Random(kTokens * kColumns), out = this->Poisoned(in.size()), expected;
  for (int64_t row : index) {
    expected.insert(expected.end(), in.begin() + row * kColumns, in.begin() + (row + 1) * kColumns);
  }
  this->backend_->GatherRows(*this->stream_, this->View(in, kTokens, kColumns), index.data(),
                             this->View(out, kTokens, kColumns));
  EXPECT_EQ(out, expected);
}

TYPED_TEST(RowsTest, CombineAndSumAgreeWithLoops) {
  for (int top_k : {1, 2, 3}) {
    const int64_t rows = kTokens * top_k;
    std::vector<int64_t> row_of = Shuffled(this->rng_, rows);
    std::vector<TypeParam> in = this->Random(rows * kColumns), weights = this->Random(rows),
                           out = this->Poisoned(kTokens * kColumns), sum = this->Random(kTokens * kColumns);
    std::vector<double> expected(kTokens * kColumns, 0), expected_sum(sum.begin(), sum.end());
    for (int64_t i = 0; i < rows; ++i) {
      for (int64_t j = 0; j < kColumns; ++j) {
        expected[i / top_k * kColumns + j] += static_cast<double>(weights[i]) * in[row_of[i] * kColumns + j];
        expected_sum[i / top_k * kColumns + j] += in[row_of[i] * kColumns + j];
      }
    }
    this->backend_->CombineForward(*this->stream_, this->View(in, rows, kColumns), row_of.data(),
                                   this->View(weights, kTokens, top_k), this->View(out, kTokens, kColumns));
    this->backend_->SumRows(*this->stream_, this->View(in, rows, kColumns), row_of.data(), top_k,
                            this->View(sum, kTokens, kColumns));
    this->ExpectNear(out, expected);
    this->ExpectNear(sum, expected_sum);
  }
}

TYPED_TEST(RowsTest, MovesRunsOfRows) {
  std::vector<TypeParam> in = this->Random(6 * kColumns), out = this->Random(8 * kColumns);
  std::vector<TypeParam> expected = out;
  const std::vector<RowMove> moves = {{4, 0, 2}, {1, 5, 3}, {3, 3, 0}, {0, 2, 1}};
  for (const RowMove& move : moves) {
    std::copy_n(in.begin() + move.from * kColumns, move.rows * kColumns,
                expected.begin() + move.to * kColumns);
  }
  this->backend_->MoveRows(*this->stream_, this->View(in, 6, kColumns), moves, this->View(out, 8, kColumns));
  EXPECT_EQ(out, expected);
}

TYPED_TEST(RowsTest, ARunBeyondTheEndIsOurMistake) {
  std::vector<TypeParam> in = this->Random(2 * kColumns), out = this->Random(2 * kColumns);
  const std::vector<RowMove> moves = {{1, 0, 2}};
  EXPECT_DEATH(this->backend_->MoveRows(*this->stream_, this->View(in, 2, kColumns), moves,
                                        this->View(out, 2, kColumns)),
               "2 rows from 1 of 2");
}

TYPED_TEST(RowsTest, MeansOfSquaresOfRuns) {
  std::vector<double> values = {1, 2, 3, -1, 0, 2}, out = {-1, -1, -1};
  this->backend_->MeanSquares(*this->stream_, values.data(), 3, 2, out.data());
  EXPECT_EQ(out, (std::vector<double>{2.5, 5, 2}));
  this->backend_->MeanSquares(*this->stream_, nullptr, 2, 0, out.data());
  EXPECT_EQ(out, (std::vector<double>{0, 0, 2}));
}

TYPED_TEST(RowsTest, NoRowsAreFine) {
  const Matrix none{nullptr, 0, kColumns}, no_weights{nullptr, 0, 2};
  this->backend_->GatherRows(*this->stream_, none, nullptr, none);
  this->backend_->CombineForward(*this->stream_, none, nullptr, no_weights, none);
  this->backend_->CombineBackward(*this->stream_, none, nullptr, no_weights, none, none, no_weights);
  this->backend_->SumRows(*this->stream_, none, nullptr, 2, none);
}

class CombineGradientTest : public GradientTest {};

TEST_F(CombineGradientTest, AgreesWithDifferences) {
  for (int top_k : {1, 3}) {
    const int64_t rows = kTokens * top_k;
    std::vector<int64_t> row_of = Shuffled(rng_, rows);
    std::vector<double> in = Random(rows * kColumns), weights = Random(rows),
                        pull = Random(kTokens * kColumns), out(kTokens * kColumns);
    auto loss = [&] {
      backend_->CombineForward(*stream_, View(in, rows, kColumns), row_of.data(),
                               View(weights, kTokens, top_k), View(out, kTokens, kColumns));
      return Dot(out, pull);
    };
    std::vector<double> expected = Differences(in, loss), expected_weights = Differences(weights, loss);
    std::vector<double> gradient = Poisoned(in.size()), weights_gradient = Poisoned(rows);
    backend_->CombineBackward(*stream_, View(in, rows, kColumns), row_of.data(),
                              View(weights, kTokens, top_k), View(pull, kTokens, kColumns),
                              View(gradient, rows, kColumns), View(weights_gradient, kTokens, top_k));
    ExpectNear(gradient, expected, kDifferenceTolerance);
    ExpectNear(weights_gradient, expected_weights, kDifferenceTolerance);
  }
}

}  // namespace
}  // namespace ballast
