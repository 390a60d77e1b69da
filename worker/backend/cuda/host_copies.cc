#include "worker/backend/cuda/host_copies.h"

#include <cstring>

#include "kernels/check.h"

namespace ballast {
namespace {

constexpr size_t kRoom = size_t{1} << 20;
// A larger copy takes longer than what it waits for.
constexpr size_t kLargest = size_t{64} << 10;
constexpr size_t kAlignment = 16;

enum class Place { kDevice, kPageable, kOther };

Place PlaceOf(const void* data) {
  cudaPointerAttributes attributes;
  BALLAST_CUDA_CHECK(cudaPointerGetAttributes(&attributes, data));
  if (attributes.type == cudaMemoryTypeDevice) return Place::kDevice;
  return attributes.type == cudaMemoryTypeUnregistered ? Place::kPageable : Place::kOther;
}

}  // namespace

HostCopies::HostCopies() {
  BALLAST_CUDA_CHECK(cudaHostAlloc(reinterpret_cast<void**>(&pinned_), kRoom, cudaHostAllocDefault));
}

HostCopies::~HostCopies() { cudaFreeHost(pinned_); }

bool HostCopies::Enqueue(void* to, const void* from, size_t bytes, kernels::Stream stream) {
  if (bytes > kLargest || used_ + bytes > kRoom) return false;
  const Place target = PlaceOf(to), source = PlaceOf(from);
  char* const room = pinned_ + used_;
  if (target == Place::kPageable && source == Place::kDevice) {
    BALLAST_CUDA_CHECK(cudaMemcpyAsync(room, from, bytes, cudaMemcpyDeviceToHost, stream));
    arrivals_.push_back({to, room, bytes});
  } else if (target == Place::kDevice && source == Place::kPageable) {
    std::memcpy(room, from, bytes);
    BALLAST_CUDA_CHECK(cudaMemcpyAsync(to, room, bytes, cudaMemcpyHostToDevice, stream));
  } else {
    return false;
  }
  used_ += (bytes + kAlignment - 1) / kAlignment * kAlignment;
  return true;
}

void HostCopies::HandOut() {
  for (const Arrival& arrival : arrivals_) std::memcpy(arrival.to, arrival.from, arrival.bytes);
  arrivals_.clear();
  used_ = 0;
}

}  // namespace ballast
