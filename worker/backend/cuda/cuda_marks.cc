#include "worker/backend/cuda/cuda_marks.h"

#include "base/check.h"
#include "kernels/check.h"
#include "worker/backend/cuda/cuda_stream.h"
#include "worker/backend/cuda/device.h"

namespace ballast {

CudaMarks::CudaMarks(int device) : device_(device) {}

CudaMarks::~CudaMarks() {
  cudaSetDevice(device_);
  for (cudaEvent_t event : events_) cudaEventDestroy(event);
}

void CudaMarks::Set(Stream& stream) { SetOn(static_cast<CudaStream&>(stream).get()); }

void CudaMarks::SetOn(kernels::Stream stream) {
  UseCudaDevice(device_);
  if (set_ == events_.size()) {
    cudaEvent_t event = nullptr;
    BALLAST_CUDA_CHECK(cudaEventCreate(&event));
    events_.push_back(event);
  }
  BALLAST_CUDA_CHECK(cudaEventRecord(events_[set_], stream));
  ++set_;
}

double CudaMarks::Seconds(size_t from, size_t to) const {
  BALLAST_CHECK(from < set_ && to < set_) << "marks " << from << " and " << to << " of " << set_;
  float milliseconds = 0;
  BALLAST_CUDA_CHECK(cudaEventElapsedTime(&milliseconds, events_[from], events_[to]));
  return milliseconds / 1e3;
}

bool CudaMarks::Passed(size_t mark) const {
  BALLAST_CHECK(mark < set_) << "mark " << mark << " of " << set_;
  const cudaError_t state = cudaEventQuery(events_[mark]);
  if (state == cudaErrorNotReady) return false;
  BALLAST_CUDA_CHECK(state);
  return true;
}

}  // namespace ballast
