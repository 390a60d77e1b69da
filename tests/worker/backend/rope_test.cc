#include <complex>

#include "tests/worker/backend/backend_fixture.h"

namespace ballast {
namespace {

constexpr double kTheta = 100;
const AttentionShape kShape{.sequences = 2, .length = 5, .heads = 3, .key_value_heads = 3, .head_size = 6};
constexpr int64_t kRows = 10, kColumns = 18;

template <class T>
class RopeTest : public BackendTest<T> {};
TYPED_TEST_SUITE(RopeTest, CpuTypes);

TYPED_TEST(RopeTest, TurnsPairsByPositionAsComplexNumbersDo) {
  std::vector<TypeParam> x = this->Random(kRows * kColumns);
  std::vector<double> expected(x.size());
  for (int64_t row = 0; row < kRows; ++row) {
    for (int head = 0; head < 3; ++head) {
      for (int i = 0; i < 3; ++i) {
        const int64_t low = row * kColumns + head * 6 + i;
        const double position = static_cast<double>(row % 5);
        const auto turned = std::complex<double>(x[low], x[low + 3]) *
                            std::polar(1.0, position * std::pow(kTheta, -2.0 * i / 6));
        expected[low] = turned.real();
        expected[low + 3] = turned.imag();
      }
    }
  }
  this->backend_->Rope(*this->stream_, this->View(x, kRows, kColumns), kShape, 3, kTheta, false);
  this->ExpectNear(x, expected);
}

TYPED_TEST(RopeTest, BackwardIsTheInverse) {
  std::vector<TypeParam> x = this->Random(kRows * kColumns);
  std::vector<double> expected(x.begin(), x.end());
  this->backend_->Rope(*this->stream_, this->View(x, kRows, kColumns), kShape, 3, kTheta, false);
  EXPECT_NE(std::vector<double>(x.begin(), x.end()), expected);
  this->backend_->Rope(*this->stream_, this->View(x, kRows, kColumns), kShape, 3, kTheta, true);
  this->ExpectNear(x, expected);
}

TYPED_TEST(RopeTest, NoSequencesAreFine) {
  AttentionShape none = kShape;
  none.sequences = 0;
  this->backend_->Rope(*this->stream_, {nullptr, 0, kColumns}, none, 3, kTheta, false);
}

}  // namespace
}  // namespace ballast
