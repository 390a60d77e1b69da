// What --device says, as a value. Pure.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace ballast {

struct DeviceChoice {
  enum class Kind { kCpu, kCuda };
  Kind kind = Kind::kCpu;
  std::vector<int> numbers;  // of kCuda, in the order given: local rank i computes on numbers[i]; empty = all
};

// "cpu", "cuda" or "cuda:0,1". InvalidArgument says what was found and what is allowed; a number may come
// once.
absl::StatusOr<DeviceChoice> ParseDevice(const std::string& text);

// The devices of the ranks of a worker that has `present` of them. `ranks` is --ranks, 0 = not given: then
// all devices of the choice have one each. InvalidArgument for a device that is not there, and for a number
// of ranks that is not that of the devices.
absl::StatusOr<std::vector<int>> ChooseDevices(const DeviceChoice& choice, int ranks, int present);

}  // namespace ballast
