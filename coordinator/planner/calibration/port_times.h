// PortTimes: what bytes take over the ports of ranks, between nodes and inside one, and whose port is slow.
//
// Fed by messages that were timed where all ranks begin together (Communicator::NextBeginsTogether): the end
// of any other exchange says as much about late senders as about the network. A line per class; a message
// counts with all bytes that its receiver's port carried meanwhile. A slow port shows in what it sends and in
// what it receives, so a rank is judged by the median of both, from and to ranks that are not slow
// themselves.
#pragma once

#include <optional>
#include <vector>

#include "coordinator/planner/calibration/calibration.h"

namespace ballast {

struct TimedMessage {
  int from = 0, to = 0;  // ranks
  double bytes = 0;      // over the receiver's port until it was there, its own included
  double seconds = 0;
};

// A value; pure.
class PortTimes {
 public:
  // [rank] -> node.
  explicit PortTimes(std::vector<int> node_of_rank);

  // Messages of one step. Small ones, which say more of latencies and of schedulers than of ports, are left
  // out. Slow ports are kPort, by rank; among nodes alone.
  std::vector<SlowEvent> Observe(Step step, const std::vector<TimedMessage>& messages);
  // A link between nodes as a probe found it: the class begins with that, and learns by it how much of a
  // message's time is no matter of size.
  void ObserveProbe(double latency_seconds, double bytes_per_second);

  // Bytes per second of a healthy port in messages of the usual size: where sizes hardly vary, what belongs
  // to none cannot be told apart. Nothing until enough messages were timed.
  std::optional<double> between() const { return Speed(between_); }
  std::optional<double> inside() const { return Speed(inside_); }
  // [rank] of ports between nodes, time over their peers'; 1 for healthy ones.
  std::vector<double> slowdowns() const;

  static constexpr double kLeastBytes = 128 << 10;
  static constexpr int kMessagesNeeded = 64;

 private:
  struct Class {
    RobustLine line;
    int messages = 0;  // of these, timed ones; stops at kMessagesNeeded
    double usual = 0;  // bytes of such a one, a slow mean
  };
  static std::optional<double> Speed(const Class& of);
  std::vector<SlowEvent> Judge(Step step);
  // Bytes that a message between healthy ports would have had beside it in its time: slow senders leave their
  // receivers' ports to the others.
  double Beside(const TimedMessage& message) const;

  std::vector<int> node_of_rank_;
  std::vector<int> node_ranks_;  // [node]
  std::vector<int> slow_;        // ranks
  Class between_, inside_;
  PeerWatch watch_;
  std::vector<TimedMessage> kept_;  // between nodes, not judged yet
};

}  // namespace ballast
