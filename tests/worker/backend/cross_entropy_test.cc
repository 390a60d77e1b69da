#include "tests/worker/backend/backend_fixture.h"

namespace ballast {
namespace {

constexpr int64_t kRows = 4, kColumns = 9;
const std::vector<int32_t> kTargets = {8, 0, 3, 3};
constexpr double kScale = 1.0 / 7;

template <class T>
class CrossEntropyTest : public BackendTest<T> {};
TYPED_TEST_SUITE(CrossEntropyTest, CpuTypes);

TYPED_TEST(CrossEntropyTest, AgreesWithLoopsAlsoForLargeLogits) {
  std::vector<TypeParam> logits = this->Random(kRows * kColumns);
  for (int64_t j = 0; j < kColumns; ++j) logits[kColumns + j] += 1000;  // exp overflows
  std::vector<double> expected_loss, expected_gradient;
  for (int64_t i = 0; i < kRows; ++i) {
    double sum = 0;
    const double base = logits[i * kColumns];
    for (int64_t j = 0; j < kColumns; ++j) sum += std::exp(logits[i * kColumns + j] - base);
    expected_loss.push_back(std::log(sum) + base - logits[i * kColumns + kTargets[i]]);
    for (int64_t j = 0; j < kColumns; ++j) {
      expected_gradient.push_back(kScale *
                                  (std::exp(logits[i * kColumns + j] - base) / sum - (j == kTargets[i])));
    }
  }
  std::vector<double> loss(kRows, NAN);
  std::vector<TypeParam> gradient = this->Poisoned(kRows * kColumns);
  this->backend_->CrossEntropy(*this->stream_, this->View(logits, kRows, kColumns), kTargets.data(), kScale,
                               loss.data(), this->View(gradient, kRows, kColumns));
  this->ExpectNear(gradient, expected_gradient);
  for (int64_t i = 0; i < kRows; ++i)
    EXPECT_NEAR(loss[i], expected_loss[i], 1e-4 * (sizeof(TypeParam) == 4) + 1e-12);

  std::vector<double> loss_again(kRows);
  this->backend_->CrossEntropy(*this->stream_, this->View(logits, kRows, kColumns), kTargets.data(), kScale,
                               loss_again.data(), this->View(logits, kRows, kColumns));
  EXPECT_EQ(loss_again, loss);
  EXPECT_EQ(logits, gradient) << "in place";
}

class CrossEntropyGradientTest : public GradientTest {};

TEST_F(CrossEntropyGradientTest, AgreesWithDifferences) {
  std::vector<double> logits = Random(kRows * kColumns), gradient(kRows * kColumns), row_loss(kRows);
  auto loss = [&] {
    backend_->CrossEntropy(*stream_, View(logits, kRows, kColumns), kTargets.data(), kScale, row_loss.data(),
                           View(gradient, kRows, kColumns));
    return kScale * (row_loss[0] + row_loss[1] + row_loss[2] + row_loss[3]);
  };
  std::vector<double> expected = Differences(logits, loss);
  loss();
  ExpectNear(gradient, expected, kDifferenceTolerance);
}

}  // namespace
}  // namespace ballast
