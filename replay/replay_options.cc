#include "replay/replay_options.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "replay/place.h"

namespace ballast {

absl::Status RefuseOption(const std::string& option, int64_t found, const std::string& allowed) {
  return absl::InvalidArgumentError(absl::StrCat(option, ": found ", found, ", allowed is ", allowed));
}

absl::Status CheckGpus(int ranks, int ranks_per_node) {
  if (ranks < 1 || ranks > kRanksMax) return RefuseOption("gpus", ranks, absl::StrCat("1..", kRanksMax));
  if (ranks_per_node < 0 || (ranks_per_node > 0 && ranks % ranks_per_node)) {
    return RefuseOption("gpus-per-node", ranks_per_node, absl::StrCat("a divisor of ", ranks, " gpus"));
  }
  return absl::OkStatus();
}

absl::Status CheckReplayOptions(const LoadTrace& trace, const ReplayOptions& options) {
  BALLAST_RETURN_IF_ERROR(CheckGpus(options.ranks, options.ranks_per_node));
  if (options.slots < 1 || int64_t{options.slots} * options.ranks < trace.experts()) {
    return RefuseOption("slots", options.slots,
                        absl::StrCat("enough for ", trace.experts(), " experts on ", options.ranks, " gpus"));
  }
  if (options.every < 1) return RefuseOption("every", options.every, "1 or more");
  if (options.from < 0 || options.from >= trace.steps()) {
    return RefuseOption("from", options.from, absl::StrCat("0..", trace.steps() - 1));
  }
  if (options.writes_max < 1) return RefuseOption("writes", options.writes_max, "1 or more");
  if (options.telemetry != nullptr && options.telemetry->gpus() != options.ranks) {
    return RefuseOption("telemetry", options.telemetry->gpus(),
                        absl::StrCat("times of ", options.ranks, " gpus"));
  }
  if (options.evaluations_max < 1) return RefuseOption("budget", options.evaluations_max, "1 or more");
  if (options.costs) {
    const ReplayCosts& c = *options.costs;
    for (double value : {c.hidden, c.inner, c.tflops, c.nic_gbs, c.nvlink_gbs, c.iterations_per_step}) {
      if (!(value > 0) || !std::isfinite(value)) {
        return absl::InvalidArgumentError(absl::StrCat("costs: found ", value, ", allowed is above 0"));
      }
    }
    for (double value : {c.weight_mb, c.state_mb}) {
      if (!(value >= 0) || !std::isfinite(value)) {
        return absl::InvalidArgumentError(absl::StrCat("costs: found ", value, ", allowed is 0 or more"));
      }
    }
  }
  BALLAST_RETURN_IF_ERROR(CheckPairs(options.together, trace.layers(), trace.experts()));
  const int nodes = options.ranks_per_node > 0 ? options.ranks / options.ranks_per_node : 1;
  return CheckSampleOf(options.strategy, !options.together.empty(), options.sequences != nullptr, nodes);
}

double ReplayCosts::SecondsPerToken() const {
  return 12 * hidden * inner / (tflops * 1e12) + 4 * hidden / (nic_gbs * 1e9);
}
double ReplayCosts::PortShare() const { return 4 * hidden / (nic_gbs * 1e9) / SecondsPerToken(); }
double ReplayCosts::SyncSeconds() const {
  return 2 * weight_mb * 1e6 / (nic_gbs * 1e9) * iterations_per_step;
}
double ReplayCosts::WriteSeconds() const {
  return ((model == CostModel::kRing ? weight_mb : 0) + state_mb) * 1e6 / (nic_gbs * 1e9);
}

}  // namespace ballast
