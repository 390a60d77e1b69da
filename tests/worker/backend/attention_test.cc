#include "tests/worker/backend/backend_fixture.h"

namespace ballast {
namespace {

// Softmax over the past, one query at a time.
template <class T>
std::vector<double> NaiveAttention(const AttentionShape& s, const std::vector<T>& q, const std::vector<T>& k,
                                   const std::vector<T>& v) {
  const int64_t width = s.heads * s.head_size, shared = s.key_value_heads * s.head_size;
  std::vector<double> out(s.sequences * s.length * width, 0);
  for (int64_t sequence = 0; sequence < s.sequences; ++sequence) {
    for (int head = 0; head < s.heads; ++head) {
      const int source = head / (s.heads / s.key_value_heads);
      for (int64_t i = 0; i < s.length; ++i) {
        const int64_t row = sequence * s.length + i;
        std::vector<double> weight;
        double sum = 0;
        for (int64_t j = 0; j <= i; ++j) {
          double dot = 0;
          for (int d = 0; d < s.head_size; ++d) {
            dot += static_cast<double>(q[row * width + head * s.head_size + d]) *
                   k[(sequence * s.length + j) * shared + source * s.head_size + d];
          }
          weight.push_back(std::exp(dot / std::sqrt(s.head_size)));
          sum += weight.back();
        }
        for (int64_t j = 0; j <= i; ++j) {
          for (int d = 0; d < s.head_size; ++d) {
            out[row * width + head * s.head_size + d] +=
                weight[j] / sum * v[(sequence * s.length + j) * shared + source * s.head_size + d];
          }
        }
      }
    }
  }
  return out;
}

const std::vector<AttentionShape> kShapes = {
    {.sequences = 1, .length = 1, .heads = 1, .key_value_heads = 1, .head_size = 2},
    {.sequences = 2, .length = 7, .heads = 6, .key_value_heads = 2, .head_size = 4},
    {.sequences = 3, .length = 5, .heads = 3, .key_value_heads = 1, .head_size = 10},
    {.sequences = 1, .length = 33, .heads = 4, .key_value_heads = 4, .head_size = 6},
    {.sequences = 0, .length = 7, .heads = 2, .key_value_heads = 1, .head_size = 4},
};

template <class T>
class AttentionTest : public BackendTest<T> {};
TYPED_TEST_SUITE(AttentionTest, CpuTypes);

TYPED_TEST(AttentionTest, AgreesWithLoops) {
  for (const AttentionShape& s : kShapes) {
    const int64_t rows = s.sequences * s.length, width = s.heads * s.head_size,
                  shared = s.key_value_heads * s.head_size;
    std::vector<TypeParam> q = this->Random(rows * width), k = this->Random(rows * shared),
                           v = this->Random(rows * shared), out = this->Poisoned(rows * width),
                           probabilities = this->Poisoned(s.sequences * s.heads * s.length * s.length);
    this->backend_->AttentionForward(*this->stream_, this->View(q, rows, width), this->View(k, rows, shared),
                                     this->View(v, rows, shared), s, this->View(out, rows, width),
                                     probabilities.data());
    this->ExpectNear(out, NaiveAttention(s, q, k, v));
  }
}

TYPED_TEST(AttentionTest, TheFutureChangesNoBit) {
  const AttentionShape s = kShapes[1];
  const int64_t rows = 14, width = 24, shared = 8;
  std::vector<TypeParam> q = this->Random(rows * width), k = this->Random(rows * shared),
                         v = this->Random(rows * shared), probabilities(2 * 6 * 7 * 7);
  auto run = [&] {
    std::vector<TypeParam> out(rows * width);
    this->backend_->AttentionForward(*this->stream_, this->View(q, rows, width), this->View(k, rows, shared),
                                     this->View(v, rows, shared), s, this->View(out, rows, width),
                                     probabilities.data());
    return out;
  };
  std::vector<TypeParam> before = run();
  k[6 * shared] += 1;  // the last position of the first sequence
  v[6 * shared] += 1;
  std::vector<TypeParam> after = run();
  for (int64_t i = 0; i < rows * width; ++i) {
    if (i / width != 6) {
      ASSERT_EQ(before[i], after[i]) << "row " << i / width;
    }
  }
  EXPECT_NE(before, after);
}

class AttentionGradientTest : public GradientTest {};

TEST_F(AttentionGradientTest, AgreesWithDifferences) {
  for (const AttentionShape& s : kShapes) {
    if (s.length > 10) continue;
    const int64_t rows = s.sequences * s.length, width = s.heads * s.head_size,
                  shared = s.key_value_heads * s.head_size;
    std::vector<double> q = Random(rows * width), k = Random(rows * shared), v = Random(rows * shared),
                        pull = Random(rows * width), out(rows * width),
                        probabilities(s.sequences * s.heads * s.length * s.length);
    auto loss = [&] {
      backend_->AttentionForward(*stream_, View(q, rows, width), View(k, rows, shared), View(v, rows, shared),
                                 s, View(out, rows, width), probabilities.data());
      return Dot(out, pull);
    };
    std::vector<double> expected_q = Differences(q, loss), expected_k = Differences(k, loss),
                        expected_v = Differences(v, loss);
    loss();
    std::vector<double> dq = Poisoned(rows * width), dk = Poisoned(rows * shared),
                        dv = Poisoned(rows * shared);
    backend_->AttentionBackward(*stream_, View(q, rows, width), View(k, rows, shared), View(v, rows, shared),
                                View(out, rows, width), s, probabilities.data(), View(pull, rows, width),
                                View(dq, rows, width), View(dk, rows, shared), View(dv, rows, shared));
    ExpectNear(dq, expected_q, kDifferenceTolerance);
    ExpectNear(dk, expected_k, kDifferenceTolerance);
    ExpectNear(dv, expected_v, kDifferenceTolerance);
  }
}

}  // namespace
}  // namespace ballast
