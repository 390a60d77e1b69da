#include "tests/worker/backend/backend_fixture.h"

namespace ballast {
namespace {

template <class T>
class AdamWTest : public BackendTest<T> {};
TYPED_TEST_SUITE(AdamWTest, CpuTypes);

TYPED_TEST(AdamWTest, AgreesWithThePaperOverSomeSteps) {
  const int64_t n = 19;
  AdamWStep step{.learning_rate = 0.01,
                 .beta1 = 0.9,
                 .beta2 = 0.95,
                 .epsilon = 1e-6,
                 .weight_decay = 0.1,
                 .gradient_scale = 0.5};
  std::vector<TypeParam> master = this->Random(n), m(n, 0), v(n, 0), weights = this->Poisoned(n);
  std::vector<double> w(master.begin(), master.end()), m2(n, 0), v2(n, 0);
  for (step.step = 1; step.step <= 5; ++step.step) {
    std::vector<TypeParam> gradient = this->Random(n);
    this->backend_->AdamW(*this->stream_, step, n, gradient.data(), master.data(), m.data(), v.data(),
                          weights.data());
    for (int64_t i = 0; i < n; ++i) {
      const double g = 0.5 * gradient[i];
      m2[i] = 0.9 * m2[i] + 0.1 * g;
      v2[i] = 0.95 * v2[i] + 0.05 * g * g;
      const double m_hat = m2[i] / (1 - std::pow(0.9, step.step)),
                   v_hat = v2[i] / (1 - std::pow(0.95, step.step));
      w[i] -= 0.01 * (m_hat / (std::sqrt(v_hat) + 1e-6) + 0.1 * w[i]);
    }
    this->ExpectNear(master, w);
    EXPECT_EQ(weights, master);
  }
  this->ExpectNear(m, m2);
  this->ExpectNear(v, v2);
}

TYPED_TEST(AdamWTest, TheFirstStepIsTheLearningRateInTheGradientsDirection) {
  std::vector<TypeParam> master = {1, 1, 1}, m(3, 0), v(3, 0), weights(3), gradient = {5, -0.001, 0};
  this->backend_->AdamW(*this->stream_, {.learning_rate = 0.1, .beta1 = 0.9, .beta2 = 0.99, .step = 1}, 2,
                        gradient.data(), master.data(), m.data(), v.data(), weights.data());
  EXPECT_NEAR(master[0], 0.9, 1e-5);
  EXPECT_NEAR(master[1], 1.1, 1e-5);
  EXPECT_EQ(master[2], 1) << "beyond `elements`";
}

}  // namespace
}  // namespace ballast
