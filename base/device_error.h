// DeviceError: an accelerator or its driver failed.
#pragma once

#include <stdexcept>

namespace ballast {

// The text names the call that failed. What was enqueued on the device is lost, so the process should end: it
// is thrown where the failure is seen and caught once, where a rank's work ends.
class DeviceError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace ballast
