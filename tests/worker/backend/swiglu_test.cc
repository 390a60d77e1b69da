#include "tests/worker/backend/backend_fixture.h"

namespace ballast {
namespace {

template <class T>
class SwigluTest : public BackendTest<T> {};
TYPED_TEST_SUITE(SwigluTest, CpuTypes);

TYPED_TEST(SwigluTest, AgreesWithLoopsAndSaturates) {
  std::vector<TypeParam> gate = this->Random(3 * 5, 3), up = this->Random(3 * 5),
                         hidden = this->Poisoned(3 * 5);
  gate[0] = 1e4;   // exp(-x) underflows
  gate[1] = -1e4;  // and overflows
  std::vector<double> expected;
  for (int i = 0; i < 15; ++i)
    expected.push_back(gate[i] / (1 + std::exp(-static_cast<double>(gate[i]))) * up[i]);
  this->backend_->SwigluForward(*this->stream_, this->View(gate, 3, 5), this->View(up, 3, 5),
                                this->View(hidden, 3, 5));
  this->ExpectNear(hidden, expected);
  std::vector<TypeParam> pull(15, 1), gate_gradient = this->Poisoned(15), up_gradient = this->Poisoned(15);
  this->backend_->SwigluBackward(*this->stream_, this->View(gate, 3, 5), this->View(up, 3, 5),
                                 this->View(pull, 3, 5), this->View(gate_gradient, 3, 5),
                                 this->View(up_gradient, 3, 5));
  EXPECT_NEAR(gate_gradient[0], up[0], 1e-6);
  EXPECT_NEAR(gate_gradient[1], 0, 1e-6);
}

TYPED_TEST(SwigluTest, NoRowsAreFine) {
  const Matrix none{nullptr, 0, 5};
  this->backend_->SwigluForward(*this->stream_, none, none, none);
  this->backend_->SwigluBackward(*this->stream_, none, none, none, none, none);
}

class SwigluGradientTest : public GradientTest {};

TEST_F(SwigluGradientTest, AgreesWithDifferences) {
  std::vector<double> gate = Random(3 * 5, 2), up = Random(3 * 5), pull = Random(3 * 5), hidden(15);
  auto loss = [&] {
    backend_->SwigluForward(*stream_, View(gate, 3, 5), View(up, 3, 5), View(hidden, 3, 5));
    return Dot(hidden, pull);
  };
  std::vector<double> expected_gate = Differences(gate, loss), expected_up = Differences(up, loss);
  std::vector<double> gate_gradient = Poisoned(15), up_gradient = Poisoned(15);
  backend_->SwigluBackward(*stream_, View(gate, 3, 5), View(up, 3, 5), View(pull, 3, 5),
                           View(gate_gradient, 3, 5), View(up_gradient, 3, 5));
  ExpectNear(gate_gradient, expected_gate, kDifferenceTolerance);
  ExpectNear(up_gradient, expected_up, kDifferenceTolerance);
}

}  // namespace
}  // namespace ballast
