#include "tests/worker/backend/backend_fixture.h"

namespace ballast {
namespace {

constexpr int64_t kRows = 3, kColumns = 5;
// Where a row's gate and up begin in gate_up.
int64_t GateAt(int64_t i) { return i / kColumns * 2 * kColumns + i % kColumns; }
int64_t UpAt(int64_t i) { return GateAt(i) + kColumns; }

template <class T>
class SwigluTest : public BackendTest<T> {};
TYPED_TEST_SUITE(SwigluTest, CpuTypes);

TYPED_TEST(SwigluTest, AgreesWithLoopsAndSaturates) {
  std::vector<TypeParam> gate_up = this->Random(kRows * 2 * kColumns, 3),
                         hidden = this->Poisoned(kRows * kColumns);
  gate_up[GateAt(0)] = 1e4;   // exp(-x) underflows
  gate_up[GateAt(1)] = -1e4;  // and overflows
  std::vector<double> expected;
  for (int64_t i = 0; i < kRows * kColumns; ++i) {
    const double gate = gate_up[GateAt(i)];
    expected.push_back(gate / (1 + std::exp(-gate)) * gate_up[UpAt(i)]);
  }
  this->backend_->SwigluForward(*this->stream_, this->View(gate_up, kRows, 2 * kColumns),
                                this->View(hidden, kRows, kColumns));
  this->ExpectNear(hidden, expected);
  std::vector<TypeParam> pull(hidden.size(), 1), gradient = this->Poisoned(gate_up.size());
  this->backend_->SwigluBackward(*this->stream_, this->View(gate_up, kRows, 2 * kColumns),
                                 this->View(pull, kRows, kColumns),
                                 this->View(gradient, kRows, 2 * kColumns));
  EXPECT_NEAR(gradient[GateAt(0)], gate_up[UpAt(0)], 1e-6);
  EXPECT_NEAR(gradient[GateAt(1)], 0, 1e-6);
}

TYPED_TEST(SwigluTest, NoRowsAreFine) {
  const Matrix none{nullptr, 0, kColumns}, no_gate_up{nullptr, 0, 2 * kColumns};
  this->backend_->SwigluForward(*this->stream_, no_gate_up, none);
  this->backend_->SwigluBackward(*this->stream_, no_gate_up, none, no_gate_up);
}

class SwigluGradientTest : public GradientTest {};

TEST_F(SwigluGradientTest, AgreesWithDifferences) {
  std::vector<double> gate_up = Random(kRows * 2 * kColumns, 2), pull = Random(kRows * kColumns),
                      hidden(pull.size());
  auto loss = [&] {
    backend_->SwigluForward(*stream_, View(gate_up, kRows, 2 * kColumns), View(hidden, kRows, kColumns));
    return Dot(hidden, pull);
  };
  const std::vector<double> expected = Differences(gate_up, loss);
  std::vector<double> gradient = Poisoned(gate_up.size());
  backend_->SwigluBackward(*stream_, View(gate_up, kRows, 2 * kColumns), View(pull, kRows, kColumns),
                           View(gradient, kRows, 2 * kColumns));
  ExpectNear(gradient, expected, kDifferenceTolerance);
}

}  // namespace
}  // namespace ballast
