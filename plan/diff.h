// PlanDiff: what a switch from one plan to another changes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "plan/layout.h"
#include "plan/plan.h"

namespace ballast {

// Bytes of one parameter's optimizer state at its home: fp32 master weight and two Adam moments.
inline constexpr int64_t kHomeBytesPerElement = 12;

struct SlotWrite {  // a slot that holds an expert it did not hold before
  LayerId layer;
  Rank rank;
  int index = 0;
  ExpertId expert;
  friend bool operator==(const SlotWrite&, const SlotWrite&) = default;
};

struct HomeMove {
  BlockId block;
  Rank from;
  Rank to;
  friend bool operator==(const HomeMove&, const HomeMove&) = default;
};

struct PlanDiff {
  std::vector<SlotWrite> slot_writes;   // ordered by layer, rank, index
  std::vector<HomeMove> home_moves;     // ordered by block
  int slots_dropped = 0;                // (layer, rank, expert) held before and not after
  int speeds_changed = 0;               // ranks
  int schedules_changed = 0;            // layers whose split or schedule differs
  std::vector<int64_t> home_bytes_in;   // [rank]
  std::vector<int64_t> home_bytes_out;  // [rank]

  bool empty() const {
    return slot_writes.empty() && home_moves.empty() && !slots_dropped && !speeds_changed &&
           !schedules_changed;
  }
  // "5 slot writes, 2 home moves (96 KiB)".
  std::string Summary() const;
};

// Requires both plans to be valid for `layout` and of one number of ranks.
PlanDiff Diff(const PlanBody& from, const PlanBody& to, const ParameterLayout& layout);

}  // namespace ballast
