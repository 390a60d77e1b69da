#include "tests/worker/backend/backend_fixture.h"

namespace ballast {
namespace {

constexpr double kEpsilon = 1e-3;

template <class T>
class RmsNormTest : public BackendTest<T> {};
TYPED_TEST_SUITE(RmsNormTest, CpuTypes);

TYPED_TEST(RmsNormTest, AgreesWithLoops) {
  const int64_t rows = 5, columns = 13;
  std::vector<TypeParam> x = this->Random(rows * columns), weight = this->Random(columns);
  for (int64_t j = 0; j < columns; ++j) x[2 * columns + j] = 0;  // epsilon alone
  std::vector<TypeParam> out = this->Poisoned(rows * columns);
  std::vector<double> inverse_rms(rows, NAN);
  this->backend_->RmsNormForward(*this->stream_, this->View(x, rows, columns), weight.data(), kEpsilon,
                                 this->View(out, rows, columns), inverse_rms.data());
  std::vector<double> expected;
  for (int64_t i = 0; i < rows; ++i) {
    double mean = 0;
    for (int64_t j = 0; j < columns; ++j)
      mean += static_cast<double>(x[i * columns + j]) * x[i * columns + j] / columns;
    for (int64_t j = 0; j < columns; ++j)
      expected.push_back(x[i * columns + j] / std::sqrt(mean + kEpsilon) * weight[j]);
    EXPECT_NEAR(inverse_rms[i] * std::sqrt(mean + kEpsilon), 1, 1e-6);
  }
  this->ExpectNear(out, expected);
}

TYPED_TEST(RmsNormTest, NoRowsTouchNothing) {
  std::vector<TypeParam> weight = this->Random(3), gradient = this->Random(3), before = gradient;
  this->backend_->RmsNormForward(*this->stream_, {nullptr, 0, 3}, weight.data(), kEpsilon, {nullptr, 0, 3},
                                 nullptr);
  this->backend_->RmsNormBackward(*this->stream_, {nullptr, 0, 3}, weight.data(), nullptr, {nullptr, 0, 3},
                                  {nullptr, 0, 3}, gradient.data());
  EXPECT_EQ(gradient, before);
}

class RmsNormGradientTest : public GradientTest {};

TEST_F(RmsNormGradientTest, AgreesWithDifferencesAndAdds) {
  const int64_t rows = 4, columns = 7;
  std::vector<double> x = Random(rows * columns), weight = Random(columns), pull = Random(rows * columns);
  std::vector<double> out(rows * columns), inverse_rms(rows);
  auto loss = [&] {
    backend_->RmsNormForward(*stream_, View(x, rows, columns), weight.data(), kEpsilon,
                             View(out, rows, columns), inverse_rms.data());
    return Dot(out, pull);
  };
  std::vector<double> expected_x = Differences(x, loss), expected_weight = Differences(weight, loss);
  loss();
  std::vector<double> x_gradient = Random(rows * columns), weight_gradient = Random(columns);
  for (size_t i = 0; i < x_gradient.size(); ++i) expected_x[i] += x_gradient[i];
  for (size_t i = 0; i < weight_gradient.size(); ++i) expected_weight[i] += weight_gradient[i];
  backend_->RmsNormBackward(*stream_, View(x, rows, columns), weight.data(), inverse_rms.data(),
                            View(pull, rows, columns), View(x_gradient, rows, columns),
                            weight_gradient.data());
  ExpectNear(x_gradient, expected_x, kDifferenceTolerance);
  ExpectNear(weight_gradient, expected_weight, kDifferenceTolerance);
}

}  // namespace
}  // namespace ballast
