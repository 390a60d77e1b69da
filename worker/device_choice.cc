#include "worker/device_choice.h"

#include <algorithm>
#include <numeric>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace ballast {
namespace {

constexpr char kPrefix[] = "cuda:";

absl::Status NotADevice(const std::string& text) {
  return absl::InvalidArgumentError(absl::StrCat(
      "--device: found \"", text, "\", allowed: cpu, cuda, cuda:N,N,... with different numbers"));
}

}  // namespace

absl::StatusOr<DeviceChoice> ParseDevice(const std::string& text) {
  if (text == "cpu") return DeviceChoice{.kind = DeviceChoice::Kind::kCpu, .numbers = {}};
  DeviceChoice choice{.kind = DeviceChoice::Kind::kCuda, .numbers = {}};
  if (text == "cuda") return choice;
  if (!absl::StartsWith(text, kPrefix)) return NotADevice(text);
  const std::vector<std::string> parts = absl::StrSplit(text.substr(sizeof kPrefix - 1), ',');
  for (const std::string& part : parts) {
    int number = -1;
    const bool digits = !part.empty() && part.find_first_not_of("0123456789") == std::string::npos;
    if (!digits || !absl::SimpleAtoi(part, &number)) return NotADevice(text);
    if (std::find(choice.numbers.begin(), choice.numbers.end(), number) != choice.numbers.end()) {
      return NotADevice(text);
    }
    choice.numbers.push_back(number);
  }
  return choice;
}

absl::StatusOr<std::vector<int>> ChooseDevices(const DeviceChoice& choice, int ranks, int present) {
  std::vector<int> devices = choice.numbers;
  if (devices.empty()) {
    devices.resize(static_cast<size_t>(present));
    std::iota(devices.begin(), devices.end(), 0);
  }
  for (int device : devices) {
    if (device < present) continue;
    return absl::InvalidArgumentError(absl::StrCat("--device: found device ", device, ", allowed 0..",
                                                   present - 1, " (", present, " here)"));
  }
  if (ranks != 0 && ranks != static_cast<int>(devices.size())) {
    return absl::InvalidArgumentError(absl::StrCat("--ranks: found ", ranks, ", allowed ", devices.size(),
                                                   " (a rank for each device), or to leave it out"));
  }
  return devices;
}

}  // namespace ballast
