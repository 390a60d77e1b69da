// HostCopies: small copies between the device and host memory of any kind, without waiting.
//
// CUDA makes a copy to or from pageable memory wait for the whole stream. So small ones go through pinned
// memory: to the device, the bytes are taken over at once; to the host, they are handed out when the stream
// has been waited for.
#pragma once

#include <cstddef>
#include <vector>

#include "kernels/types.h"

namespace ballast {

// Of one stream: one thread at a time. Methods throw DeviceError.
class HostCopies {
 public:
  HostCopies();
  ~HostCopies();
  HostCopies(const HostCopies&) = delete;
  HostCopies& operator=(const HostCopies&) = delete;

  // Enqueues the copy and returns true; or false when it is not between the device and pageable host memory,
  // or is large, or there is no room before the next HandOut.
  bool Enqueue(void* to, const void* from, size_t bytes, kernels::Stream stream);

  // The stream has been waited for: hands out what came to the host, and all room is free again.
  void HandOut();

 private:
  struct Arrival {
    void* to;
    const char* from;
    size_t bytes;
  };
  char* pinned_ = nullptr;
  size_t used_ = 0;
  std::vector<Arrival> arrivals_;
};

}  // namespace ballast
