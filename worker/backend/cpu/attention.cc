// Causal grouped-query attention (Ainslie et al., arXiv 2305.13245), one head of one sequence at a time.
//
// Per head three products forward and five backward, each [length, length] by head_size. Probabilities are
// kept, with zeros above the diagonal.
#include <algorithm>
#include <cmath>

#include "worker/backend/cpu/blas.h"
#include "worker/backend/cpu/kernels.h"

namespace ballast::cpu {
namespace {

// Rows of one sequence, columns of one head.
template <class T, class R>
BlasMatrix<T> Head(const R& x, const AttentionShape& shape, int64_t sequence, int head) {
  return {x[sequence * shape.length] + static_cast<int64_t>(head) * shape.head_size, x.columns, false};
}
template <class T>
BlasMatrix<T> Transposed(BlasMatrix<T> x) {
  x.transposed = !x.transposed;
  return x;
}

template <class T>
T SoftmaxScale(const AttentionShape& shape) {
  return static_cast<T>(1.0 / std::sqrt(static_cast<double>(shape.head_size)));
}

// Row i: softmax over columns 0..i, zeros after.
template <class T>
void CausalSoftmax(int64_t length, T* scores) {
  for (int64_t i = 0; i < length; ++i) {
    T* row = scores + i * length;
    T highest = row[0];
    for (int64_t j = 1; j <= i; ++j) highest = std::max(highest, row[j]);
    double sum = 0;
    for (int64_t j = 0; j <= i; ++j) {
      row[j] = std::exp(row[j] - highest);
      sum += row[j];
    }
    const T inverse = static_cast<T>(1.0 / sum);
    for (int64_t j = 0; j <= i; ++j) row[j] *= inverse;
    std::fill(row + i + 1, row + length, T(0));
  }
}

template <class T>
double Dot(int64_t n, const T* x, const T* y) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(x[i]) * y[i];
  return sum;
}

// ds = p (dp - sum(p dp)) per row, in place of dp; zeros above the diagonal, where dp is of no meaning.
// `sum_of` gives a row's sum(p dp).
template <class T, class SumOf>
void CausalSoftmaxBackward(int64_t length, const T* probabilities, T* gradient, const SumOf& sum_of) {
  for (int64_t i = 0; i < length; ++i) {
    const T* p = probabilities + i * length;
    T* row = gradient + i * length;
    const T mean = static_cast<T>(sum_of(i));
    for (int64_t j = 0; j <= i; ++j) row[j] = p[j] * (row[j] - mean);
    std::fill(row + i + 1, row + length, T(0));
  }
}

}  // namespace

template <class T>
void AttentionForward(Rows<const T> q, Rows<const T> k, Rows<const T> v, const AttentionShape& shape,
                      Rows<T> out, T* probabilities) {
  const int64_t length = shape.length;
  const int group = shape.heads / shape.key_value_heads;
  for (int64_t sequence = 0; sequence < shape.sequences; ++sequence) {
    for (int head = 0; head < shape.heads; ++head) {
      T* scores = probabilities + (sequence * shape.heads + head) * length * length;
      auto query = Head<const T>(q, shape, sequence, head);
      auto key = Head<const T>(k, shape, sequence, head / group);
      auto value = Head<const T>(v, shape, sequence, head / group);
      Gemm<T>(length, length, shape.head_size, SoftmaxScale<T>(shape), query, Transposed(key), false,
              {scores, length});
      CausalSoftmax(length, scores);
      Gemm<T>(length, shape.head_size, length, T(1), {scores, length}, value, false,
              Head<T>(out, shape, sequence, head));
    }
  }
}

template <class T>
void AttentionBackward(Rows<const T> q, Rows<const T> k, Rows<const T> v, Rows<const T> out,
                       const AttentionShape& shape, const T* probabilities, Rows<const T> out_gradient,
                       Rows<T> q_gradient, Rows<T> k_gradient, Rows<T> v_gradient, T* scratch) {
  const int64_t length = shape.length;
  const int group = shape.heads / shape.key_value_heads;
  const BlasMatrix<const T> scores_gradient{scratch, length};
  for (int64_t sequence = 0; sequence < shape.sequences; ++sequence) {
    for (int head = 0; head < shape.heads; ++head) {
      const T* p = probabilities + (sequence * shape.heads + head) * length * length;
      auto gradient = Head<const T>(out_gradient, shape, sequence, head);
      const int shared = head / group;
      // The heads of a group add up in head order.
      const bool accumulate = head % group != 0;
      Gemm<T>(length, length, shape.head_size, T(1), gradient,
              Transposed(Head<const T>(v, shape, sequence, shared)), false, {scratch, length});
      CausalSoftmaxBackward(length, p, scratch, [&](int64_t i) {
        if (out.data == nullptr) return Dot(i + 1, p + i * length, scratch + i * length);
        return Dot<T>(shape.head_size, Head<const T>(out, shape, sequence, head).data + i * out.columns,
                      gradient.data + i * gradient.stride);
      });
      Gemm<T>(length, shape.head_size, length, T(1), {p, length, true}, gradient, accumulate,
              Head<T>(v_gradient, shape, sequence, shared));
      Gemm<T>(length, shape.head_size, length, SoftmaxScale<T>(shape), scores_gradient,
              Head<const T>(k, shape, sequence, shared), false, Head<T>(q_gradient, shape, sequence, head));
      Gemm<T>(length, shape.head_size, length, SoftmaxScale<T>(shape), Transposed(scores_gradient),
              Head<const T>(q, shape, sequence, head), accumulate,
              Head<T>(k_gradient, shape, sequence, shared));
    }
  }
}

template void AttentionForward(Rows<const float>, Rows<const float>, Rows<const float>, const AttentionShape&,
                               Rows<float>, float*);
template void AttentionForward(Rows<const double>, Rows<const double>, Rows<const double>,
                               const AttentionShape&, Rows<double>, double*);
template void AttentionBackward(Rows<const float>, Rows<const float>, Rows<const float>, Rows<const float>,
                                const AttentionShape&, const float*, Rows<const float>, Rows<float>,
                                Rows<float>, Rows<float>, float*);
template void AttentionBackward(Rows<const double>, Rows<const double>, Rows<const double>,
                                Rows<const double>, const AttentionShape&, const double*, Rows<const double>,
                                Rows<double>, Rows<double>, Rows<double>, double*);

}  // namespace ballast::cpu
