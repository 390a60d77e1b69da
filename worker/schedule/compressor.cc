#include "worker/schedule/compressor.h"

#include <algorithm>

namespace ballast {
namespace {

Matrix Rows(const Backend& backend, Matrix all, int64_t first, int64_t rows) {
  return {static_cast<char*>(all.data) + first * all.columns * static_cast<int64_t>(backend.element_bytes()),
          rows, all.columns};
}

int64_t WireRows(std::span<const RowMove> moves) {
  int64_t rows = 0;
  for (const RowMove& move : moves) rows = std::max(rows, move.to + move.rows);
  return rows;
}

}  // namespace

void Compressor::CompressRuns(Backend& backend, Stream& stream, Matrix in, std::span<const RowMove> moves,
                              void* out) const {
  if (IsIdentity(backend)) {
    backend.MoveRows(stream, in, moves, {out, WireRows(moves), in.columns});
    return;
  }
  for (const RowMove& move : moves) {
    Compress(backend, stream, Rows(backend, in, move.from, move.rows),
             static_cast<char*>(out) + Bytes(backend, move.to, in.columns));
  }
}

void Compressor::DecompressRuns(Backend& backend, Stream& stream, const void* in, int64_t rows,
                                std::span<const RowMove> moves, Matrix out) const {
  if (IsIdentity(backend)) {
    backend.MoveRows(stream, {const_cast<void*>(in), rows, out.columns}, moves, out);
    return;
  }
  for (const RowMove& move : moves) {
    Decompress(backend, stream, static_cast<const char*>(in) + Bytes(backend, move.from, out.columns),
               Rows(backend, out, move.to, move.rows));
  }
}

}  // namespace ballast
