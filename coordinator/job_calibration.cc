#include "coordinator/job_calibration.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace ballast {
namespace {

// Probes come once a minute: fewer of them must do, and they scatter more.
constexpr PeerWatchOptions kProbes = {.sigma_floor = 0.05, .warm_up = 4, .least = 1.2, .clean_steps = 10};
// A published speed stays until the estimate has moved by so much.
constexpr double kSpeedMoved = 0.05;

double ExpertSeconds(const RankStep& step) {
  return step.phase_seconds[static_cast<size_t>(Phase::kExperts)] +
         step.phase_seconds[static_cast<size_t>(Phase::kExpertsBackward)];
}

const char* Consequence(Reaction reaction) {
  switch (reaction) {
    case Reaction::kNone:
      return "";
    case Reaction::kResplit:
      return "its tokens are split for that";
    case Reaction::kReplan:
      return "its tokens are split for that and experts move";
    case Reaction::kRaisePort:
      return "plans count traffic over it as so much dearer";
    case Reaction::kDrain:
      return "it gets no experts where the others can hold them; someone should look";
  }
  return "";
}

}  // namespace

JobCalibration::JobCalibration(const Topology& topology)
    : compute_(Resource::kCompute, topology.ranks()),
      links_(topology.nodes() <= kNodesWatched ? topology.nodes() * topology.nodes() : 0, kProbes),
      speeds_(static_cast<size_t>(topology.ranks()), kHealthySpeed) {}

std::vector<SlowEvent> JobCalibration::OnRankReport(const RankReport& report) {
  const size_t ranks = speeds_.size();
  for (const RankStep& step : report.steps) {
    if (step.step <= compared_) continue;
    Samples& samples = waiting_[step.step];
    samples.resize(ranks);
    samples[report.rank.index()] =
        ResourceClass::Sample{static_cast<double>(step.assignments), ExpertSeconds(step)};
  }
  std::vector<SlowEvent> events;
  while (!waiting_.empty()) {
    const auto first = waiting_.begin();
    const bool complete = std::all_of(first->second.begin(), first->second.end(),
                                      [](const auto& sample) { return sample.has_value(); });
    const int64_t ahead = waiting_.rbegin()->first.value() - first->first.value();
    if (!complete && ahead < kStepsWaited) break;
    Compare(first->first, first->second, events);
    compared_ = first->first;
    waiting_.erase(first);
  }
  return events;
}

void JobCalibration::Compare(Step step, const Samples& samples, std::vector<SlowEvent>& events) {
  const std::vector<SlowEvent> found = compute_.Observe(step, samples);
  events.insert(events.end(), found.begin(), found.end());
  PublishSpeeds(!found.empty());
}

void JobCalibration::PublishSpeeds(bool all) {
  const std::vector<uint32_t> now = SpeedsOf(compute_.slowdowns());
  for (size_t r = 0; r < now.size(); ++r) {
    const double moved = std::fabs(static_cast<double>(now[r]) / speeds_[r] - 1);
    if (all || moved > kSpeedMoved) speeds_[r] = now[r];
  }
}

std::vector<SlowEvent> JobCalibration::OnProbes(const Topology& topology, const std::vector<bool>& fresh,
                                                Step step) {
  if (links_.members() == 0) return {};
  std::vector<std::optional<double>> logs(topology.links.size());
  for (size_t i = 0; i < logs.size(); ++i) {
    if (topology.links[i].bytes_per_second > 0) logs[i] = -std::log(topology.links[i].bytes_per_second);
  }
  std::vector<SlowEvent> events;
  for (const PeerChange& change : links_.Observe(logs, &fresh)) {
    events.push_back({step, Resource::kLink, change.member, change.slow, change.slowdown});
  }
  return events;
}

bool JobCalibration::OnStep(const StepReport& report) {
  if (!compute_.line().known()) return false;
  double busiest = 0, rows = 0;
  for (const std::vector<int64_t>& layer : report.rank_tokens) {
    double most = 0;
    for (size_t r = 0; r < layer.size(); ++r) {
      most = std::max(most, static_cast<double>(layer[r]) * kHealthySpeed / speeds_[r]);
      rows += static_cast<double>(layer[r]);
    }
    busiest += most;
  }
  const double rank_rows = rows / static_cast<double>(speeds_.size());
  if (rank_rows <= 0) return false;
  row_seconds_ = compute_.line().At(rank_rows) / rank_rows;
  return model_.Observe(busiest, row_seconds_, report.step_seconds);
}

std::vector<double> JobCalibration::link_slowdowns() const {
  std::vector<double> slowdowns;
  for (int m = 0; m < links_.members(); ++m) slowdowns.push_back(links_.slowdown(m));
  return slowdowns;
}

std::string TextOf(const SlowEvent& event, const std::vector<Member>& members, const Topology& topology) {
  std::string who;
  if (event.resource == Resource::kLink) {
    who = absl::StrCat("link from node ", topology.node_names[event.member / topology.nodes()], " to node ",
                       topology.node_names[event.member % topology.nodes()]);
  } else {
    const Member& member = members[static_cast<size_t>(event.member)];
    who = absl::StrCat(ToString(event.resource), " of rank ", event.member, " (worker ",
                       member.worker.value(), ", node ", member.node, ")");
  }
  if (!event.slow) return absl::StrCat(who, " is as fast as its peers again");
  return absl::StrFormat("%s is slow: %.2f of its peers' speed; %s", who, 1 / event.slowdown,
                         Consequence(ReactTo(event.resource, event.slowdown)));
}

}  // namespace ballast
