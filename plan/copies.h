// Copies: the slots of a layer turned around, from experts to ranks, in three flat rows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/ids.h"
#include "plan/plan.h"

namespace ballast {

// A copy is one (expert, rank) pair. Copies are numbered by expert and, of one expert, by rising rank.
struct Copies {
  std::vector<int32_t> begin;  // [expert] its first copy; one more at the end
  std::vector<int32_t> rank;   // [copy]
  std::vector<int32_t> slot;   // [copy] index of the slot on the rank; empty when made from hosts alone

  int experts() const { return static_cast<int>(begin.size()) - 1; }
  int size() const { return static_cast<int>(rank.size()); }
  int of(size_t expert) const { return begin[expert + 1] - begin[expert]; }

  // Requires slots that hold experts of 0..experts - 1.
  static Copies Of(const LayerPlan& layer, int experts);
  // The same in place, for loops that must not allocate.
  void Set(const LayerPlan& layer, int experts);
  // From the ranks of each expert, rising.
  static Copies OfHosts(const std::vector<std::vector<Rank>>& hosts);
};

}  // namespace ballast
