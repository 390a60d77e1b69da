// What a few timed messages say of a link. Pure.
#pragma once

#include <cstdint>
#include <vector>

#include "base/ids.h"
#include "protocol/messages.h"

namespace ballast {

// A message of `bytes` one way and a word back.
struct ProbeSample {
  int64_t bytes = 0;
  double seconds = 0;
};

struct LinkEstimate {
  double latency_seconds = 0;   // one way
  double bytes_per_second = 0;  // without the latency
};

// Message sizes of a probe, rising, some several times: the fastest of a size counts, since everything that
// disturbs a message makes it slower.
inline constexpr int64_t kProbeSizes[] = {8 << 10,  8 << 10,   8 << 10,   8 << 10, 64 << 10,
                                          64 << 10, 512 << 10, 512 << 10, 2 << 20, 8 << 20};
inline constexpr int64_t kProbeBytesMax = 8 << 20;
// A message that took this long is the largest that the link is troubled with.
inline constexpr double kProbeMessageSecondsMax = 0.2;

// Bandwidth is the slope between the smallest and the largest size, so that what every message costs does not
// count; latency is half of what the smallest one took beyond its transfer. Requires samples of at least one
// size, all of more than 0 bytes and seconds.
LinkEstimate EstimateLink(const std::vector<ProbeSample>& samples);

// One peer to probe, a daemon of another node.
struct ProbeTarget {
  Rank rank;  // its node's lowest
  std::string address;
  friend bool operator==(const ProbeTarget&, const ProbeTarget&) = default;
};
struct ProbeDuty {
  Rank self;  // this daemon's node's lowest rank
  std::vector<ProbeTarget> targets;
};
// At most so many peers in a round; the next round goes on where this one ended.
inline constexpr size_t kProbeTargetsMax = 64;

// What daemon `self` probes: of each pair of nodes exactly one, by the daemons of the nodes' lowest ranks,
// half of a node's pairs by either side. Every node begins with another peer, so that they do not all meet at
// one. No targets for a daemon that does not speak for its node, and none that have no address.
ProbeDuty ProbeDutyOf(const std::vector<Member>& members, const WorkerId& self);

}  // namespace ballast
