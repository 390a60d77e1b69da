// JobCalibration: what the ranks and links of a job take, from what its workers report, and who is slow.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/ids.h"
#include "coordinator/planner/calibration/calibration.h"
#include "coordinator/planner/calibration/port_times.h"
#include "coordinator/planner/calibration/step_model.h"
#include "plan/topology.h"
#include "protocol/messages.h"

namespace ballast {

// Of one job and generation; a value. Derived: a new leader and a new generation begin it anew.
class JobCalibration {
 public:
  explicit JobCalibration(const Topology& topology);

  // Experts' times of a rank, and the messages that it timed. They are compared once every rank has reported
  // the step, or newer ones are kStepsWaited ahead. Requires a report that RankRings took.
  std::vector<SlowEvent> OnRankReport(const RankReport& report);
  // Newest probes, as `links` of the topology; `fresh` [from * nodes + to]: measured just now. Nothing is
  // found among more than kNodesWatched nodes.
  std::vector<SlowEvent> OnProbes(const Topology& topology, const std::vector<bool>& fresh, Step step);
  // What a step took in all. True when the model turned out to be wrong and is learned anew.
  bool OnStep(const StepReport& report);

  // [rank] parts per 2^16 of a healthy rank. Changes when a rank is found slow or healthy, or its estimate
  // has moved by 5 %.
  const std::vector<uint32_t>& speeds() const { return speeds_; }
  // What the ports of ranks do, by the messages of their exchanges.
  const PortTimes& ports() const { return ports_; }
  // [from * nodes + to]; 1 = as its peers. Empty: links are not watched.
  std::vector<double> link_slowdowns() const;
  // Seconds of a step in which the busiest ranks of the layers have so many rows in all, over their speed.
  std::optional<double> PredictStep(double busiest) const { return model_.Predict(busiest); }
  // Seconds that a healthy rank's experts take for one row, forward and backward; 0 = not known yet.
  double row_seconds() const { return row_seconds_; }
  const ModelGuard& guard() const { return model_.guard(); }

  static constexpr int64_t kStepsWaited = 192;
  static constexpr int kNodesWatched = 64;  // pairs of nodes grow as their square

 private:
  struct Samples {
    std::vector<std::optional<ResourceClass::Sample>> compute;  // [rank]
    std::vector<TimedMessage> messages;
  };
  // Of a rank and step.
  static constexpr size_t kMessagesMax = 8;
  static void AddMessages(Rank rank, const RankStep& step, std::vector<TimedMessage>& messages);
  void Compare(Step step, const Samples& samples, std::vector<SlowEvent>& events);

  ResourceClass compute_;  // sizes are rows, times seconds
  PortTimes ports_;
  PeerWatch links_;  // from * nodes + to
  StepModel model_;
  double row_seconds_ = 0;
  std::map<Step, Samples> waiting_;
  Step compared_;  // up to here
  std::vector<uint32_t> speeds_;
};

// "gpu of rank 2 (worker w2) is slow: 0.60 of its peers' speed: its tokens are split for that and experts
// move".
std::string TextOf(const SlowEvent& event, const std::vector<Member>& members, const Topology& topology);

}  // namespace ballast
