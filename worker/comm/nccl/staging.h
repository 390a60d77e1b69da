// Device memory for messages whose buffers are host memory.
#pragma once

#include <cstddef>
#include <vector>

#include "kernels/types.h"

namespace ballast {

// Pieces go back and are used again; the largest number in flight stays allocated. One thread, one device,
// which is the calling thread's. Methods throw DeviceError.
class StagingPool {
 public:
  struct Piece {
    void* data = nullptr;
    size_t bytes = 0;
  };

  StagingPool() = default;
  ~StagingPool();
  StagingPool(const StagingPool&) = delete;
  StagingPool& operator=(const StagingPool&) = delete;

  // At least `bytes` long.
  Piece Take(size_t bytes);
  // Nothing enqueued uses it any more.
  void Give(Piece piece);

 private:
  std::vector<Piece> free_;
};

// Whether a kernel on the calling thread's device may use the memory at `data`.
bool OnDevice(const void* data);

}  // namespace ballast
