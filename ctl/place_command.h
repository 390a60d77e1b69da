// ballastctl place: one good placement for given loads; needs no coordinator.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "ctl/context.h"
#include "ctl/sequence_files.h"
#include "replay/place.h"

namespace ballast {

struct PlaceArguments {
  std::string loads;   // .npy
  std::string tokens;  // .npy of a co-activation sample; empty = none
  SequenceArguments sequences;
  int64_t base_version = 1;
  PlaceOptions options;
};
// JSON and YAML are plan files.
absl::Status PlaceExperts(const Context& context, const PlaceArguments& arguments);

}  // namespace ballast
