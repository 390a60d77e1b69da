#include "coordinator/planner/calibration/calibration.h"

#include <algorithm>
#include <cmath>

namespace ballast {

const char* ToString(Resource resource) {
  switch (resource) {
    case Resource::kCompute:
      return "gpu";
    case Resource::kPort:
      return "nic";
    case Resource::kLink:
      return "link";
  }
  return "unknown";
}

const char* ToString(Reaction reaction) {
  switch (reaction) {
    case Reaction::kNone:
      return "none";
    case Reaction::kResplit:
      return "resplit";
    case Reaction::kReplan:
      return "replan";
    case Reaction::kRaisePort:
      return "raise_port";
    case Reaction::kDrain:
      return "drain";
  }
  return "unknown";
}

Reaction ReactTo(Resource resource, double slowdown) {
  if (slowdown <= 1) return Reaction::kNone;
  if (resource != Resource::kCompute) return Reaction::kRaisePort;
  if (slowdown > 1 / kDrainSpeed) return Reaction::kDrain;
  return slowdown < kReplanSlowdown ? Reaction::kResplit : Reaction::kReplan;
}

std::vector<SlowEvent> ResourceClass::Observe(Step step, const std::vector<std::optional<Sample>>& samples) {
  std::vector<std::optional<double>> logs(samples.size());
  for (size_t m = 0; m < samples.size(); ++m) {
    const std::optional<Sample>& sample = samples[m];
    if (!sample || !(sample->size > 0) || !(sample->time > 0) || !std::isfinite(sample->time)) continue;
    // Before the line is known, time per work is what there is to compare.
    logs[m] = std::log(sample->time / (line_.known() ? line_.At(sample->size) : sample->size));
  }
  std::vector<SlowEvent> events;
  for (const PeerChange& change : watch_.Observe(logs)) {
    events.push_back({step, resource_, change.member, change.slow, change.slowdown});
  }
  for (size_t m = 0; m < samples.size(); ++m) {
    if (logs[m] && !watch_.slow(static_cast<int>(m))) line_.Observe(samples[m]->size, samples[m]->time);
  }
  return events;
}

std::vector<double> ResourceClass::slowdowns() const {
  std::vector<double> all;
  for (int m = 0; m < watch_.members(); ++m) all.push_back(watch_.slowdown(m));
  return all;
}

std::vector<uint32_t> SpeedsOf(const std::vector<double>& slowdowns) {
  constexpr double kSteps = 64;
  std::vector<uint32_t> speeds;
  for (double slowdown : slowdowns) {
    const double steps = std::clamp(std::round(kSteps / slowdown), 1.0, kSteps);
    speeds.push_back(static_cast<uint32_t>(steps * (kHealthySpeed / kSteps)));
  }
  return speeds;
}

bool PublishSpeeds(const std::vector<uint32_t>& now, bool all, std::vector<uint32_t>& published) {
  bool changed = false;
  for (size_t r = 0; r < now.size(); ++r) {
    const double moved = std::fabs(static_cast<double>(now[r]) / published[r] - 1);
    if (now[r] == published[r] || !(all || moved > kSpeedMoved)) continue;
    published[r] = now[r];
    changed = true;
  }
  return changed;
}

}  // namespace ballast
