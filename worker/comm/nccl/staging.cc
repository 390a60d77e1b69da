#include "worker/comm/nccl/staging.h"

#include <algorithm>

#include "kernels/check.h"

namespace ballast {

StagingPool::~StagingPool() {
  for (const Piece& piece : free_) cudaFree(piece.data);
}

StagingPool::Piece StagingPool::Take(size_t bytes) {
  // The smallest that is large enough; else a new one, with room to grow.
  auto best = free_.end();
  for (auto it = free_.begin(); it != free_.end(); ++it) {
    if (it->bytes >= bytes && (best == free_.end() || it->bytes < best->bytes)) best = it;
  }
  if (best != free_.end()) {
    const Piece piece = *best;
    free_.erase(best);
    return piece;
  }
  Piece piece;
  piece.bytes = std::max<size_t>(bytes + bytes / 4, 4096);
  BALLAST_CUDA_CHECK(cudaMalloc(&piece.data, piece.bytes));
  return piece;
}

void StagingPool::Give(Piece piece) { free_.push_back(piece); }

bool OnDevice(const void* data) {
  cudaPointerAttributes attributes;
  BALLAST_CUDA_CHECK(cudaPointerGetAttributes(&attributes, data));
  return attributes.type == cudaMemoryTypeDevice || attributes.type == cudaMemoryTypeManaged;
}

}  // namespace ballast
