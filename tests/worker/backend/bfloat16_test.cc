#include <bit>

#include "tests/worker/backend/backend_fixture.h"

namespace ballast {
namespace {

template <class T>
class BFloat16Test : public BackendTest<T> {
 protected:
  uint16_t To(T value) {
    uint16_t out = 0;
    this->backend_->ToBFloat16(*this->stream_, &value, 1, &out);
    return out;
  }
  T From(uint16_t bits) {
    T out = 0;
    this->backend_->FromBFloat16(*this->stream_, &bits, 1, &out);
    return out;
  }
};
TYPED_TEST_SUITE(BFloat16Test, CpuTypes);

TYPED_TEST(BFloat16Test, EveryBf16ComesBackAsItself) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const TypeParam value = this->From(static_cast<uint16_t>(bits));
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(this->From(this->To(value)))) << bits;
    } else {
      EXPECT_EQ(this->To(value), bits);
    }
  }
}

TYPED_TEST(BFloat16Test, RoundsToTheNearestAndTiesToEven) {
  const TypeParam unit = std::ldexp(TypeParam(1), -7);  // last place of numbers in [1, 2)
  EXPECT_EQ(this->From(this->To(1 + unit / 2)), 1);
  EXPECT_EQ(this->From(this->To(1 + unit * 3 / 2)), 1 + 2 * unit);
  EXPECT_EQ(this->From(this->To(-(1 + unit / 2))), -1);
  EXPECT_EQ(this->From(this->To(1 + unit / 2 + unit / 1024)), 1 + unit);
  EXPECT_EQ(this->From(this->To(1 + unit / 2 - unit / 1024)), 1);
  EXPECT_TRUE(std::isinf(this->From(this->To(std::numeric_limits<float>::max()))));
  for (int i = 0; i < 1000; ++i) {
    const TypeParam x = this->Random(1, 100)[0];
    EXPECT_LE(std::abs(this->From(this->To(x)) - x), std::abs(x) / 256);
  }
}

// Rounded to float first, this lies on the tie and would fall to the even side.
TEST(BFloat16OfDouble, IsRoundedOnce) {
  auto backend = MakeCpuBackend(DType::kFloat64).value();
  auto stream = backend->NewStream();
  const double unit = std::ldexp(1.0, -7);
  const double values[] = {1 + unit / 2 + 1e-12, 1 + unit * 3 / 2 - 1e-12, -(1 + unit / 2 + 1e-12)};
  uint16_t out[3];
  backend->ToBFloat16(*stream, values, 3, out);
  double back[3];
  backend->FromBFloat16(*stream, out, 3, back);
  EXPECT_EQ(back[0], 1 + unit);
  EXPECT_EQ(back[1], 1 + unit);
  EXPECT_EQ(back[2], -(1 + unit));
}

}  // namespace
}  // namespace ballast
