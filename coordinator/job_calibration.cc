#include "coordinator/job_calibration.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace ballast {
namespace {

// Probes come once a minute: fewer of them must do, and they scatter more.
constexpr PeerWatchOptions kProbes = {.sigma_floor = 0.05, .warm_up = 4, .least = 1.2, .clean_steps = 10};

double ExpertSeconds(const RankStep& step) {
  return step.phase_seconds[static_cast<size_t>(Phase::kExperts)] +
         step.phase_seconds[static_cast<size_t>(Phase::kExpertsBackward)];
}

std::vector<int> NodesOf(const Topology& topology) {
  std::vector<int> nodes;
  for (NodeId node : topology.node_of_rank) nodes.push_back(node.value());
  return nodes;
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
      ports_(NodesOf(topology)),
      links_(topology.nodes() <= kNodesWatched ? topology.nodes() * topology.nodes() : 0, kProbes),
      speeds_(static_cast<size_t>(topology.ranks()), kHealthySpeed) {}

std::vector<SlowEvent> JobCalibration::OnRankReport(const RankReport& report) {
  const size_t ranks = speeds_.size();
  for (const RankStep& step : report.steps) {
    if (step.step <= compared_) continue;
    Samples& samples = waiting_[step.step];
    samples.compute.resize(ranks);
    std::optional<ResourceClass::Sample>& mine = samples.compute[report.rank.index()];
    if (!mine) AddMessages(report.rank, step, samples.messages);
    mine = ResourceClass::Sample{static_cast<double>(step.assignments), ExpertSeconds(step)};
  }
  std::vector<SlowEvent> events;
  while (!waiting_.empty()) {
    const auto first = waiting_.begin();
    const bool complete = std::all_of(first->second.compute.begin(), first->second.compute.end(),
                                      [](const auto& sample) { return sample.has_value(); });
    const int64_t ahead = waiting_.rbegin()->first.value() - first->first.value();
    if (!complete && ahead < kStepsWaited) break;
    Compare(first->first, first->second, events);
    compared_ = first->first;
    waiting_.erase(first);
  }
  return events;
}

// The peers take turns where they are many.
void JobCalibration::AddMessages(Rank rank, const RankStep& step, std::vector<TimedMessage>& messages) {
  const size_t links = step.links.size();
  size_t added = 0;
  for (size_t i = 0; i < links && added < kMessagesMax; ++i) {
    const LinkUse& link = step.links[(i + static_cast<size_t>(step.step.value()) * kMessagesMax) % links];
    if (link.timed_messages == 0) continue;
    const double count = static_cast<double>(link.timed_messages);
    messages.push_back({link.peer.value(), rank.value(), static_cast<double>(link.timed_bytes) / count,
                        link.timed_seconds / count});
    ++added;
  }
}

void JobCalibration::Compare(Step step, const Samples& samples, std::vector<SlowEvent>& events) {
  const std::vector<SlowEvent> found = compute_.Observe(step, samples.compute);
  events.insert(events.end(), found.begin(), found.end());
  const std::vector<SlowEvent> ports = ports_.Observe(step, samples.messages);
  events.insert(events.end(), ports.begin(), ports.end());
  PublishSpeeds(SpeedsOf(compute_.slowdowns()), !found.empty(), speeds_);
}

std::vector<SlowEvent> JobCalibration::OnProbes(const Topology& topology, const std::vector<bool>& fresh,
                                                Step step) {
  for (size_t i = 0; i < topology.links.size(); ++i) {
    const bool slow = links_.members() > 0 && links_.slow(static_cast<int>(i));
    if (fresh[i] && !slow)
      ports_.ObserveProbe(topology.links[i].latency_seconds, topology.links[i].bytes_per_second);
  }
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
