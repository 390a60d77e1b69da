// Moving rows by index: into and out of the order in which they travel.
#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "worker/backend/cpu/kernels.h"

namespace ballast::cpu {

void MoveRows(Matrix in, std::span<const RowMove> moves, Matrix out, size_t element_bytes) {
  BALLAST_CHECK(in.columns == out.columns) << in.columns << " columns against " << out.columns;
  const size_t row_bytes = static_cast<size_t>(in.columns) * element_bytes;
  for (const RowMove& move : moves) {
    CheckMove(move, in, out);
    if (move.rows == 0) continue;
    std::memcpy(static_cast<char*>(out.data) + move.to * row_bytes,
                static_cast<const char*>(in.data) + move.from * row_bytes, move.rows * row_bytes);
  }
}

template <class T>
void GatherRows(Rows<const T> in, const int64_t* index, Rows<T> out) {
  for (int64_t i = 0; i < out.rows; ++i) std::copy_n(in[index[i]], out.columns, out[i]);
}

template <class T>
void SumRows(Rows<const T> rows, const int64_t* row_of, int top_k, Rows<T> out) {
  for (int64_t t = 0; t < out.rows; ++t) {
    T* to = out[t];
    for (int k = 0; k < top_k; ++k) {
      const T* from = rows[row_of[t * top_k + k]];
      for (int64_t j = 0; j < out.columns; ++j) to[j] += from[j];
    }
  }
}

template void GatherRows(Rows<const uint16_t>, const int64_t*, Rows<uint16_t>);
template void GatherRows(Rows<const float>, const int64_t*, Rows<float>);
template void GatherRows(Rows<const double>, const int64_t*, Rows<double>);
template void SumRows(Rows<const float>, const int64_t*, int, Rows<float>);
template void SumRows(Rows<const double>, const int64_t*, int, Rows<double>);

}  // namespace ballast::cpu
