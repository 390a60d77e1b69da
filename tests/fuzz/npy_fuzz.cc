// libFuzzer: bytes as a .npy file, and as recorded loads when they are one.
#include <cstddef>
#include <cstdint>
#include <string>

#include "base/check.h"
#include "replay/load_trace.h"
#include "replay/npy.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ballast;
  const absl::StatusOr<NpyArray> array = NpyArray::Parse(std::string(data, data + size));
  if (!array.ok()) {
    BALLAST_CHECK(array.status().code() == absl::StatusCode::kInvalidArgument) << array.status();
    return 0;
  }
  int64_t product = 1;
  for (int64_t dimension : array->shape()) product *= dimension;
  BALLAST_CHECK(product == array->size() && array->size() <= static_cast<int64_t>(size))
      << array->size() << " values in " << size << " bytes";
  for (int64_t i = 0; i < array->size(); ++i) (void)array->At(i).ok();
  const absl::StatusOr<LoadTrace> trace = LoadTrace::FromArray(*array);
  if (!trace.ok()) return 0;
  for (int layer = 0; layer < trace->layers(); ++layer) {
    for (int64_t tokens : trace->Sample(trace->steps() - 1, layer)) BALLAST_CHECK(tokens >= 0) << tokens;
  }
  return 0;
}
