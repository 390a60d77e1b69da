// Token embedding: a row of the table per id.
#include <algorithm>

#include "worker/backend/cpu/kernels.h"

namespace ballast::cpu {

template <class T>
void EmbeddingForward(const int32_t* ids, Rows<const T> table, Rows<T> out) {
  for (int64_t i = 0; i < out.rows; ++i) std::copy_n(table[ids[i]], out.columns, out[i]);
}

template <class T>
void EmbeddingBackward(const int32_t* ids, Rows<const T> out_gradient, Rows<T> table_gradient) {
  for (int64_t i = 0; i < out_gradient.rows; ++i) {
    const T* from = out_gradient[i];
    T* to = table_gradient[ids[i]];
    for (int64_t j = 0; j < out_gradient.columns; ++j) to[j] += from[j];
  }
}

template void EmbeddingForward(const int32_t*, Rows<const uint16_t>, Rows<uint16_t>);
template void EmbeddingForward(const int32_t*, Rows<const float>, Rows<float>);
template void EmbeddingForward(const int32_t*, Rows<const double>, Rows<double>);
template void EmbeddingBackward(const int32_t*, Rows<const float>, Rows<float>);
template void EmbeddingBackward(const int32_t*, Rows<const double>, Rows<double>);

}  // namespace ballast::cpu
