// Calibration: what ranks and their network ports take, learned from what they report, and who is slower than
// its peers.
//
// One RobustLine per class says what a healthy member takes for so much work; a PeerWatch says who differs.
// Pure: the live coordinator and replay feed the same code.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/ids.h"
#include "coordinator/planner/calibration/peer_watch.h"
#include "coordinator/planner/calibration/robust_line.h"

namespace ballast {

// What may be slow.
enum class Resource : uint8_t {
  kCompute = 1,  // of a rank: its experts' matrices
  kPort = 2,     // of a rank: its network interface
  kLink = 3,     // from one node to another
};
const char* ToString(Resource resource);  // "gpu", "nic", "link"

// What a slow member asks for; each includes those before it.
enum class Reaction : uint8_t {
  kNone = 0,
  kResplit = 1,    // tokens are split by speed over the slots that are there: at once, nothing moves
  kReplan = 2,     // and experts move, for the speeds that are there
  kRaisePort = 3,  // of a port or link: traffic over it is charged as much dearer, and experts move
  kDrain = 4,      // too slow to be of use: no experts there, and people should look
};
const char* ToString(Reaction reaction);  // "replan"

// Below this speed (of a healthy rank) a rank holds no experts.
inline constexpr double kDrainSpeed = 0.3;
// Slowdown from which on experts move for a slow rank; below it the split alone makes up for it.
inline constexpr double kReplanSlowdown = 1.2;
Reaction ReactTo(Resource resource, double slowdown);

// A member of a class is found slow, or healthy again.
struct SlowEvent {
  Step step;
  Resource resource = Resource::kCompute;
  int member = 0;  // rank; of a link, from * nodes + to
  bool slow = false;
  double slowdown = 1;  // its time over its peers' time for the same work; 1 when healthy again
  friend bool operator==(const SlowEvent&, const SlowEvent&) = default;
};

// One class of like resources. A value.
class ResourceClass {
 public:
  struct Sample {
    double size = 0;  // work: tokens, bytes; a sample of 0 is left out
    double time = 0;  // > 0
  };
  ResourceClass(Resource resource, int members, PeerWatchOptions options = {})
      : resource_(resource),
        line_(std::pow(kForgetting, 1.0 / std::max(1, members))),
        watch_(members, options) {}

  // One step, by member; nothing where there is none.
  std::vector<SlowEvent> Observe(Step step, const std::vector<std::optional<Sample>>& samples);

  const RobustLine& line() const { return line_; }
  const PeerWatch& watch() const { return watch_; }
  // [member] time over its peers'; 1 for healthy ones.
  std::vector<double> slowdowns() const;

 private:
  static constexpr double kForgetting = 0.995;  // of a step

  Resource resource_;
  RobustLine line_;
  PeerWatch watch_;
};

inline constexpr uint32_t kHealthySpeed = 1 << 16;
// [rank] parts per 2^16 of a healthy rank, in steps of 1/64 so that noise does not make new plans; above 0.
std::vector<uint32_t> SpeedsOf(const std::vector<double>& slowdowns);
// Takes over into `published` what has moved by more than kSpeedMoved, or all; true when any has changed.
inline constexpr double kSpeedMoved = 0.05;
bool PublishSpeeds(const std::vector<uint32_t>& now, bool all, std::vector<uint32_t>& published);

}  // namespace ballast
