#include "bench/layer_case/operation_bench.h"

#include <cstring>

#include "base/check.h"
#include "bench/layer_case/case_options.h"

namespace ballast::bench {

double OperationBench::Seconds(const std::function<void()>& call) {
  std::vector<double> seconds;
  for (int sample = -1; sample < samples_; ++sample) {
    BALLAST_CHECK_OK(backend_.Synchronize(*stream_));
    const double begin = NowSeconds();
    for (int i = 0; i < iterations_; ++i) call();
    BALLAST_CHECK_OK(backend_.Synchronize(*stream_));
    if (sample >= 0) seconds.push_back((NowSeconds() - begin) / iterations_);
  }
  return Median(seconds);
}

Matrix OperationBench::Normal(int64_t rows, int64_t columns) {
  std::vector<uint16_t> values(static_cast<size_t>(rows * columns));
  for (uint16_t& value : values) {
    const auto number = static_cast<float>(rng_.Normal());
    uint32_t bits = 0;
    static_assert(sizeof(bits) == sizeof(number));
    std::memcpy(&bits, &number, sizeof(bits));
    value = static_cast<uint16_t>(bits >> 16);
  }
  return {Values(values), rows, columns};
}

Matrix OperationBench::NormalFloats(int64_t rows, int64_t columns) {
  std::vector<float> values(static_cast<size_t>(rows * columns));
  for (float& value : values) value = static_cast<float>(rng_.Normal());
  return {Values(values), rows, columns};
}

void* OperationBench::Memory(size_t bytes) {
  buffers_.push_back(*backend_.Allocate(bytes, "bench"));
  return buffers_.back().data();
}

void* OperationBench::Filled(const void* from, size_t bytes) {
  void* const data = Memory(bytes);
  backend_.Copy(*stream_, data, from, bytes);
  BALLAST_CHECK_OK(backend_.Synchronize(*stream_));
  return data;
}

}  // namespace ballast::bench
