// CudaMarks: marks in streams as CUDA events, which are kept and used again.
#pragma once

#include <cstddef>
#include <vector>

#include "kernels/types.h"
#include "worker/backend/backend.h"

namespace ballast {

// Methods throw DeviceError.
class CudaMarks final : public StreamMarks {
 public:
  explicit CudaMarks(int device);
  ~CudaMarks() override;
  CudaMarks(const CudaMarks&) = delete;
  CudaMarks& operator=(const CudaMarks&) = delete;

  void Set(Stream& stream) override;
  void SetOn(kernels::Stream stream);
  size_t count() const override { return set_; }
  double Seconds(size_t from, size_t to) const override;
  void Clear() override { set_ = 0; }

  // Whether the device has come past the mark.
  bool Passed(size_t mark) const;

 private:
  const int device_;
  std::vector<kernels::Event> events_;
  size_t set_ = 0;
};

}  // namespace ballast
