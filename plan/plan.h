// Plan: where every expert computes (slots) and where every block is owned (homes), and how tokens travel.
//
// A plan is immutable. The planner makes a PlanBody, the coordinator core stamps it; ranks run it from one
// agreed step on.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "base/ids.h"

namespace ballast {

// What a slot holds; nullopt = empty.
using Slot = std::optional<ExpertId>;

// How an expert's tokens are split over its slots: kExact balances the microbatch's actual counts over the
// ranks, kFractions follows `fractions`, kEven gives each slot the same share.
enum class SplitKind : uint8_t { kExact = 1, kFractions = 2, kEven = 3 };

struct SplitPolicy {
  SplitKind kind = SplitKind::kExact;
  // For kFractions alone: [rank][index], in the shape of the slots; parts per 2^16 of that expert's tokens.
  std::vector<std::vector<uint32_t>> fractions;
  friend bool operator==(const SplitPolicy&, const SplitPolicy&) = default;
};

// The all-to-all whose rows cross the network from their source's own port, to the same port of the other
// node, wherever in it they are computed.
inline constexpr char kRails[] = "rails";

// How the rows of one layer travel.
struct LayerSchedule {
  std::string all_to_all = "direct";
  int chunks = 1;
  // Order of the chunked tasks; "grouped" is: all dispatches, then all experts, then all combines.
  std::string task_order = "grouped";
  std::string dispatch_compressor = "none";
  std::string combine_compressor = "none";
  friend bool operator==(const LayerSchedule&, const LayerSchedule&) = default;
};

struct LayerPlan {
  std::vector<std::vector<Slot>> slots;  // [rank][index]; an expert has at most one slot on a rank
  SplitPolicy split;
  LayerSchedule schedule;
  friend bool operator==(const LayerPlan&, const LayerPlan&) = default;

  // Ranks that hold a slot of each expert, rising: [expert] -> ranks. `experts` is E.
  std::vector<std::vector<Rank>> Hosts(int experts) const;
  // Index of the expert's slot on the rank, if it has one there.
  std::optional<int> SlotIndex(Rank rank, ExpertId expert) const;
};

struct PlanBody {
  std::vector<Rank> homes;            // [block], dense and expert blocks
  std::vector<uint32_t> speeds;       // [rank], relative speed in parts per 2^16 of a healthy rank; not 0
  std::vector<LayerPlan> layers;      // [MoE layer]
  std::string reason;                 // why this plan, for people
  double predicted_step_seconds = 0;  // 0 = not predicted
  friend bool operator==(const PlanBody&, const PlanBody&) = default;
};

struct PlanStamp {
  JobId job;
  Generation generation;
  PlanVersion version;
  PlanVersion base_version;  // the plan that this one was derived from; 0 for a generation's first
  Step not_before_step;      // the plan is active at this step or later
  friend bool operator==(const PlanStamp&, const PlanStamp&) = default;
};

struct Plan {
  PlanStamp stamp;
  PlanBody body;
  friend bool operator==(const Plan&, const Plan&) = default;
};
using PlanPtr = std::shared_ptr<const Plan>;

// plan/'s own canonical little-endian encoding of stamp and body: equal plans, and only they, have equal
// bytes.
std::string CanonicalBytes(const Plan& plan);

// SHA-256 over CanonicalBytes, the first 8 bytes read big-endian.
PlanDigest Digest(const Plan& plan);

}  // namespace ballast
