// LinkProber: measures latency and bandwidth to daemons of other nodes, over sockets of its own.
//
// One thread answers probes, one peer at a time; another sends them, one after the other, at the beginning of
// a generation and then once a period. Neither touches what ranks train over but the wire itself: a round to
// one peer is a few messages of 8 KiB to 8 MiB, bounded in time. A peer that does not answer costs a time-out
// and is told of; it never is a lost peer.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/clock.h"
#include "worker/probes/link_estimate.h"

namespace ballast {

struct ProbeTimes {
  Duration period = Seconds(60);     // from one round's beginning to the next
  Duration pause = Seconds(0.2);     // between two peers of a round
  Duration dial_max = Seconds(2);    // for a connection to stand, and for each silence within it
  Duration visit_max = Seconds(10);  // of one peer at our answering thread
};

class LinkProber {
 public:
  // Both directions of one target, or one failure. Called on the probing thread; must not call back.
  using OnResult = std::function<void(std::vector<LinkProbe> links)>;

  // Answers on `host` (an address of this machine) and any free port.
  static absl::StatusOr<std::unique_ptr<LinkProber>> Listen(const std::string& host, ProbeTimes times = {});
  virtual ~LinkProber() = default;

  virtual int port() const = 0;
  // Probes the targets of `duty` from now on; ends what was probed before. Does not block.
  virtual void Begin(ProbeDuty duty, OnResult on_result) = 0;
  // No result comes after it returns. Waits for the message under way, at most dial_max.
  virtual void Stop() = 0;
};

// The figures of one peer: what goes to it and what comes from it. Blocks; for the prober and its tests.
struct LinkFigures {
  LinkEstimate there, back;
};
absl::StatusOr<LinkFigures> ProbePeer(const std::string& address, const ProbeTimes& times,
                                      const std::function<bool()>& cancelled);

}  // namespace ballast
