// What the benchmarks of single operations have in common: operands, and the time of a call.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "base/rng.h"
#include "worker/backend/backend.h"

namespace ballast::bench {

class OperationBench {
 public:
  // `backend`, of bfloat16, must outlive it.
  OperationBench(Backend& backend, int iterations, int samples)
      : backend_(backend), stream_(backend.NewStream()), iterations_(iterations), samples_(samples) {}

  Backend& backend() { return backend_; }
  Stream& stream() { return *stream_; }

  // Seconds of a call: the median over samples; a sample is the mean of `iterations` calls between two
  // synchronizations, and one before them is not counted.
  double Seconds(const std::function<void()>& call);

  // Normal numbers, in bfloat16 or in float.
  Matrix Normal(int64_t rows, int64_t columns);
  Matrix NormalFloats(int64_t rows, int64_t columns);
  // Zeroed memory, until the end.
  void* Memory(size_t bytes);
  // The same, with these values.
  template <class T>
  T* Values(const std::vector<T>& values) {
    return static_cast<T*>(Filled(values.data(), values.size() * sizeof(T)));
  }

 private:
  void* Filled(const void* from, size_t bytes);

  Backend& backend_;
  const std::unique_ptr<Stream> stream_;
  const int iterations_, samples_;
  Rng rng_{1};
  std::vector<Buffer> buffers_;
};

}  // namespace ballast::bench
