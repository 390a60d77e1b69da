// Route: which rows of one MoE layer go from which rank to which, as a rank computes it from the split.
//
// Rows: one per assignment (token, k). Source order: assignments sorted by (expert, canonical order), cut by
// the split's shares, so that what goes to one host is one run per expert. Host order: by slot index, and
// inside a slot by source rank and then source order, which is canonical order: global sequence index,
// position, k.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "plan/plan.h"
#include "plan/split.h"
#include "plan/split_workspace.h"

namespace ballast {

// Rows from `source` to `host` for the host's slot `slot`. Every rank that has the segment has it alike.
struct RouteSegment {
  Rank source;
  Rank host;
  int slot = 0;
  ExpertId expert;
  int64_t rows = 0;
  int64_t source_offset = 0;  // first row in the source's send order; only where the source is wanted
  int64_t host_offset = 0;    // first row in the host's expert order; only where the host is wanted
  friend bool operator==(const RouteSegment&, const RouteSegment&) = default;
};

// The exchange of one microbatch and layer, as far as the split was asked for. Pure data.
struct Route {
  int ranks = 0;
  std::vector<RouteSegment> segments;  // ordered by (source, expert, host)
  // Whole for wanted ranks, a part for others.
  std::vector<int64_t> source_rows;             // [rank] rows sent (all its assignments)
  std::vector<int64_t> host_rows;               // [rank] rows computed
  std::vector<std::vector<int64_t>> slot_rows;  // [rank][slot index]
  uint64_t hash = 0;                            // of the split
  friend bool operator==(const Route&, const Route&) = default;
};

// From the split of the gathered counts. `slots` are the layer's.
Route MakeRoute(const Split& split, const LayerPlan& layer);

// The split and its route in one go, for each microbatch and layer: without a list of shares, and into what
// the call before left of `work`, `split` and `route`. Arguments and errors are ComputeSplit's.
absl::Status ComputeRoute(const CountMatrix& counts, const LayerPlan& layer, int experts,
                          const std::vector<uint32_t>& speeds, const Topology& topology,
                          const std::vector<char>& wanted, SplitWorkspace& work, Split& split, Route& route);

// Routed = sent = received, for the `wanted` ranks: nothing is dropped. `expert_tokens` are the sums of
// `counts` over the ranks. Internal when it is not so, which would be a mistake of this code.
absl::Status CheckConserved(const Route& route, const Split& split, const CountMatrix& counts,
                            const std::vector<int64_t>& expert_tokens, const std::vector<char>& wanted);

// [expert] tokens over all ranks.
std::vector<int64_t> ExpertTokens(const CountMatrix& counts);

}  // namespace ballast
