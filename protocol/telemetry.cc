#include "protocol/telemetry.h"

namespace ballast {

const char* ToString(Phase phase) {
  static constexpr std::array<const char*, kPhases> kNames = {"data",
                                                              "dense_forward",
                                                              "router",
                                                              "counts",
                                                              "dispatch",
                                                              "experts",
                                                              "combine",
                                                              "dense_backward",
                                                              "dispatch_backward",
                                                              "experts_backward",
                                                              "combine_backward",
                                                              "router_backward",
                                                              "reduce",
                                                              "table",
                                                              "update",
                                                              "refresh",
                                                              "checkpoint",
                                                              "other"};
  static_assert(static_cast<size_t>(Phase::kOther) + 1 == kPhases);
  return kNames[static_cast<size_t>(phase)];
}

}  // namespace ballast
