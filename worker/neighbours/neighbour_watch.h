// NeighbourWatch: finds out within about a second that a neighbouring daemon is gone.
//
// The daemons of a generation form a ring in the order of their first ranks. Each dials the next one and is
// dialled by the one before. A reset connection, or a second without an answer, is a lost peer; the
// collectives alone would notice a silent peer only at their own, much longer deadline. One thread with
// poll() owns all sockets; it computes nothing else, so a long step does not look like a dead daemon.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/clock.h"
#include "base/ids.h"

namespace ballast {

struct NeighbourTimes {
  Duration ping = Seconds(0.2);
  Duration silence_max = Seconds(1.0);  // without anything from the peer, while this process itself was running
  Duration meet_max = Seconds(20.0);    // from Watch() until both connections stand: members learn of a
                                      // generation at different moments
  Duration redial = Seconds(0.1);
};

// The two neighbours of one daemon in one generation; the same daemon on both sides when there are two
// daemons.
struct NeighbourRing {
  JobId job;
  Generation generation;
  Rank self;                 // first rank of this daemon
  Rank next;                 // first rank of the daemon to dial
  std::string next_address;  // its host:port
  Rank previous;             // first rank of the daemon that dials
};

class NeighbourWatch {
 public:
  // The peer's first rank and what was seen. Called on the watch's own thread, at most once per Watch(); it
  // must not call back into the watch.
  using OnLost = std::function<void(Rank peer, const std::string& detail)>;

  // Listens on `host` (an address of this machine; "0.0.0.0" or "::" for all) and `port` (0 = any free one).
  static absl::StatusOr<std::unique_ptr<NeighbourWatch>> Listen(const std::string& host, int port,
                                                                NeighbourTimes times = {});
  virtual ~NeighbourWatch() = default;

  virtual int port() const = 0;
  // Begins to watch; ends what was watched before. InvalidArgument or Unavailable if next_address is no
  // usable host:port.
  virtual absl::Status Watch(NeighbourRing ring, OnLost on_lost) = 0;
  // Says good-bye to both neighbours and stops watching. When it returns, OnLost is not running and will not
  // be called.
  virtual void Stop() = 0;
};

}  // namespace ballast
