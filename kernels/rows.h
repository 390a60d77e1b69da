// Moving rows by index, and sums of the rows that belong to a token.
#pragma once

#include <cstdint>

#include "kernels/types.h"

namespace ballast::kernels {

// out[i] = in[index[i]] for `rows` rows; any element type, a row is `row_bytes` long.
void GatherRows(int64_t rows, int64_t row_bytes, const void* in, const int64_t* index, void* out,
                Stream stream);
// Rows [from, from + rows) of `in` become rows [to, to + rows) of `out`, for each of `moves`, which lie on
// the device; rows_max is the longest.
struct Move {
  int64_t from, to, rows;
};
void MoveRows(int64_t moves_count, const Move* moves, int64_t rows_max, int64_t row_bytes, const void* in,
              void* out, Stream stream);
// out[t] += sum over k, in k order, of rows[row_of[t * top_k + k]]; out [tokens, columns].
template <class T>
void SumRows(int64_t tokens, int64_t columns, int top_k, const T* rows, const int64_t* row_of, T* out,
             Stream stream);

}  // namespace ballast::kernels
