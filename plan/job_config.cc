#include "plan/job_config.h"

#include "base/check.h"

namespace ballast {

const char* ToString(DType dtype) {
  switch (dtype) {
    case DType::kFloat32:
      return "float32";
    case DType::kFloat64:
      return "float64";
    case DType::kBFloat16:
      return "bfloat16";
  }
  BALLAST_CHECK(false) << "dtype " << static_cast<int>(dtype);
  return "";
}

const char* ToString(Recompute recompute) {
  switch (recompute) {
    case Recompute::kNone:
      return "none";
    case Recompute::kMoe:
      return "moe";
    case Recompute::kFull:
      return "full";
  }
  BALLAST_CHECK(false) << "recompute " << static_cast<int>(recompute);
  return "";
}

}  // namespace ballast
