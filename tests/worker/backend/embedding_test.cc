#include "tests/worker/backend/backend_fixture.h"

namespace ballast {
namespace {

template <class T>
class EmbeddingTest : public BackendTest<T> {};
TYPED_TEST_SUITE(EmbeddingTest, CpuTypes);

TYPED_TEST(EmbeddingTest, TakesRowsAndAddsGradientsOfRepeatedIds) {
  const std::vector<int32_t> ids = {3, 0, 3, 4, 3};
  std::vector<TypeParam> table = this->Random(5 * 7), out = this->Poisoned(5 * 7);
  this->backend_->EmbeddingForward(*this->stream_, ids.data(), this->View(table, 5, 7),
                                   this->View(out, 5, 7));
  std::vector<TypeParam> gradient = this->Random(5 * 7), table_gradient = this->Random(5 * 7);
  std::vector<double> expected(table_gradient.begin(), table_gradient.end());
  for (int i = 0; i < 5; ++i) {
    for (int j = 0; j < 7; ++j) {
      EXPECT_EQ(out[i * 7 + j], table[ids[i] * 7 + j]);
      expected[ids[i] * 7 + j] += gradient[i * 7 + j];
    }
  }
  this->backend_->EmbeddingBackward(*this->stream_, ids.data(), this->View(gradient, 5, 7),
                                    this->View(table_gradient, 5, 7));
  this->ExpectNear(table_gradient, expected);
}

TYPED_TEST(EmbeddingTest, NoRowsTouchNothing) {
  std::vector<TypeParam> table = this->Random(2 * 3), before = table, none;
  this->backend_->EmbeddingForward(*this->stream_, nullptr, this->View(table, 2, 3), {nullptr, 0, 3});
  this->backend_->EmbeddingBackward(*this->stream_, nullptr, {nullptr, 0, 3}, this->View(table, 2, 3));
  EXPECT_EQ(table, before);
}

}  // namespace
}  // namespace ballast
