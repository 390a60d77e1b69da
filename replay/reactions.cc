#include "replay/reactions.h"

#include <algorithm>

#include "coordinator/planner/layer/slow_ranks.h"

namespace ballast {
namespace {

double SlowdownOf(uint32_t speed) { return static_cast<double>(kHealthySpeed) / speed; }

}  // namespace

Reactions::Reactions(const TelemetryTable& table, const LayerTask& task, std::optional<double> port_share)
    : feed_(table),
      slots_(task.slots),
      port_share_(port_share),
      compute_(task.slots.size(), kHealthySpeed),
      ports_(task.slots.size(), kHealthySpeed) {}

Reactions::Wanted Reactions::ObserveBefore(int step, LayerTask& task) {
  feed_.ObserveBefore(step);
  const size_t first = seen_;
  seen_ = feed_.events().size();
  const bool found = seen_ > first;
  const bool compute_moved = PublishSpeeds(feed_.speeds(), found, compute_);
  const bool ports_moved = PublishSpeeds(feed_.port_speeds(), found, ports_);
  if (!found && !compute_moved && !ports_moved) return Wanted::kNothing;
  const bool slow = std::any_of(ports_.begin(), ports_.end(), [](uint32_t s) { return s < kHealthySpeed; });
  port_slowdowns_.clear();
  for (uint32_t speed : ports_) {
    if (slow) port_slowdowns_.push_back(SlowdownOf(speed));
  }
  PriceTokens(task);
  const std::vector<int> slots_before = task.slots;
  task.slots = slots_;
  DrainBelow(compute_, kDrainSpeed * kHealthySpeed, task);
  NameWhatIsDone(first, Step(step), slots_before, task);
  if (task.slots != slots_before) return Wanted::kPlan;
  for (size_t i = first; i < seen_; ++i) {
    const SlowEvent& event = feed_.events()[i];
    if (ReactTo(event.resource, event.slowdown) != Reaction::kResplit) return Wanted::kPlan;
  }
  return Wanted::kSplit;
}

void Reactions::PriceTokens(LayerTask& task) const {
  const double port = port_share_.value_or(feed_.port_share());
  std::vector<double> slowdowns;
  for (size_t g = 0; g < compute_.size(); ++g)
    slowdowns.push_back((1 - port) * SlowdownOf(compute_[g]) + port * SlowdownOf(ports_[g]));
  task.speeds = SpeedsOf(slowdowns);
}

void Reactions::NameWhatIsDone(size_t from, Step now, const std::vector<int>& slots_before,
                               const LayerTask& task) {
  std::vector<bool> named(compute_.size(), false);
  for (size_t i = from; i < seen_; ++i) {
    const SlowEvent& event = feed_.events()[i];
    Reaction reaction = ReactTo(event.resource, event.slowdown);
    const auto g = static_cast<size_t>(event.member);
    if (event.resource == Resource::kCompute) {
      named[g] = true;
      // The others may not have the slots.
      if (reaction == Reaction::kDrain && task.slots[g] > 0) reaction = Reaction::kReplan;
    }
    taken_.push_back({event, reaction});
  }
  // Whoever is drained, or gets experts again, because an estimate has moved.
  for (size_t g = 0; g < named.size(); ++g) {
    if (named[g] || slots_before[g] == task.slots[g]) continue;
    const double slowdown = SlowdownOf(compute_[g]);
    taken_.push_back({{now, Resource::kCompute, static_cast<int>(g), slowdown > 1, slowdown},
                      task.slots[g] > 0 ? Reaction::kReplan : Reaction::kDrain});
  }
}

}  // namespace ballast
