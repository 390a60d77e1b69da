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

}  // namespace ballast
