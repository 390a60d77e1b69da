#include "worker/backend/backend.h"

#include "base/check.h"

namespace ballast {

size_t DTypeBytes(DType dtype) {
  switch (dtype) {
    case DType::kFloat32:
      return 4;
    case DType::kFloat64:
      return 8;
    case DType::kBFloat16:
      return 2;
  }
  BALLAST_CHECK(false) << "dtype " << static_cast<int>(dtype);
  return 0;
}

DType RouterDType(DType compute) { return compute == DType::kBFloat16 ? DType::kFloat32 : compute; }

void CheckGateUp(const Matrix& gate_up, const Matrix& hidden) {
  BALLAST_CHECK(gate_up.rows == hidden.rows && gate_up.columns == 2 * hidden.columns)
      << gate_up.rows << "x" << gate_up.columns << " for a hidden of " << hidden.rows << "x"
      << hidden.columns;
}

void CheckMove(const RowMove& move, const Matrix& in, const Matrix& out) {
  BALLAST_CHECK(0 <= move.rows && 0 <= move.from && move.from + move.rows <= in.rows && 0 <= move.to &&
                move.to + move.rows <= out.rows)
      << move.rows << " rows from " << move.from << " of " << in.rows << " to " << move.to << " of "
      << out.rows;
}

void Backend::MatmulBatch(Stream& stream, std::span<const MatmulTask> tasks) {
  for (const auto& [kind, a, b, c, accumulate] : tasks) {
    if (kind == MatmulKind::kNT) MatmulNT(stream, a, b, c, accumulate);
    if (kind == MatmulKind::kNN) MatmulNN(stream, a, b, c, accumulate);
    if (kind == MatmulKind::kTN) MatmulTN(stream, a, b, c, accumulate);
  }
}

}  // namespace ballast
