// What workers measure of themselves and of the links between them, as plain values.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/ids.h"

namespace ballast {

// Where a rank's time in a step goes. The phases of one step exclude each other and add up to the step;
// waiting for slower peers is part of the phase that exchanges.
enum class Phase : uint8_t {
  kData = 0,          // reading the microbatches
  kDenseForward,      // embedding, attention, norms, head
  kRouter,            // gate and its losses
  kCounts,            // all-gather of the counts, and the split
  kDispatch,          // rows to their experts
  kExperts,           // the experts' matrices, forward
  kCombine,           // rows back, weighted and summed
  kDenseBackward,     // head, attention, norms, embedding
  kDispatchBackward,  // gradient rows to their experts
  kExpertsBackward,   // the experts' matrices, backward
  kCombineBackward,   // gradient rows back, summed
  kRouterBackward,    // gate
  kReduce,            // gradients to their homes
  kTable,             // norms, the step table, the fence
  kUpdate,            // AdamW at the homes
  kRefresh,           // new weights to the slots of the next plan
  kCheckpoint,        // copying what a checkpoint needs
  kOther,             // what lies between the phases
};
inline constexpr size_t kPhases = 18;
// "dispatch_backward"; the name in metrics and tables.
const char* ToString(Phase phase);

// Traffic of one rank with one peer in one step.
struct LinkUse {
  Rank peer;
  int64_t bytes_sent = 0;
  int64_t bytes_received = 0;
  // Sum over the exchanges in which something came from the peer: from enqueueing the exchange until this
  // rank saw the peer's message, or, between devices, until all peers' messages had come. An upper bound of
  // the transfer: the peer may have begun later.
  double receive_seconds = 0;
  // Messages from the peer whose transfer can be told from waiting for it (Communicator::NextBeginsTogether):
  // how many, what came over this rank's port while they did, theirs included, and how long they took.
  int64_t timed_messages = 0;
  int64_t timed_bytes = 0;
  double timed_seconds = 0;
  friend bool operator==(const LinkUse&, const LinkUse&) = default;
};

inline constexpr size_t kRankLinksMax = 64;

// One step of one rank.
struct RankStep {
  Step step;
  double seconds = 0;
  double wait_seconds = 0;  // of these, blocked until peers' messages were there
  int64_t assignments = 0;  // (token, k) rows computed here, over all layers
  std::array<double, kPhases> phase_seconds{};
  int64_t bytes_sent = 0;  // to all other ranks
  int64_t bytes_received = 0;
  std::vector<LinkUse> links;  // the kRankLinksMax peers with the most bytes, rising
  friend bool operator==(const RankStep&, const RankStep&) = default;
};

// Steps of one rank since its last report, rising.
struct RankReport {
  JobId job;
  Generation generation;
  Rank rank;
  std::vector<RankStep> steps;
  int64_t reports_dropped = 0;  // of any kind, by this worker process so far
};
// A report is sent when it has so many steps, or covers a second.
inline constexpr size_t kRankReportStepsMax = 64;

// Outcome of one active probe, from the node of one rank to the node of another.
struct LinkProbe {
  Rank from;
  Rank to;
  double latency_seconds = 0;   // one way: half of the fastest small round trip
  double bytes_per_second = 0;  // of large messages, without the latency
  std::string failure;          // why there is no result; empty = there is one
  friend bool operator==(const LinkProbe&, const LinkProbe&) = default;
};
struct LinkReport {
  JobId job;
  Generation generation;
  std::vector<LinkProbe> links;
};

}  // namespace ballast
