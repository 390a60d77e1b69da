// The exact split of an expert's tokens over its slots, from the actual counts of one microbatch and layer.
//
// Every rank computes it from the same gathered integers and gets the same answer: no clock, no floating
// point, fixed iteration order. Also used by the planner (to predict) and by replay.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "base/ids.h"
#include "plan/balance.h"
#include "plan/plan.h"
#include "plan/topology.h"

namespace ballast {

// How many assignments of one source rank to one expert go to one host.
struct Share {
  Rank source;
  ExpertId expert;
  Rank host;
  int32_t slot = 0;  // index of the expert's slot on the host
  int64_t count = 0;
  friend bool operator==(const Share&, const Share&) = default;
};

struct Split {
  // Those that were asked for, by rising (source, expert, host); none is 0. A source's assignments to an
  // expert, in canonical order (sequence, position, k), are dealt to its shares as contiguous runs in this
  // order.
  std::vector<Share> shares;
  std::vector<int64_t> rank_tokens;  // [rank] assignments that the rank computes
  // Of all that the shares of all ranks follow from: counts, slots, what each slot computes, and whether rows
  // travel on rails. Equal on all ranks or something is wrong (it rides in the step header); does not depend
  // on which shares were asked for.
  uint64_t hash = 0;
};

// How many tokens of each expert its hosts compute. kExact: so that the busiest rank (tokens / speed) is as
// little loaded as whole tokens allow (plan/balance.h). kFractions and kEven: by the table or evenly, rounded
// by largest remainder. `tokens` and `hosts` are by expert; requires what BalanceExactly requires.
// InvalidArgument for an unknown kind, and for a table that misses a slot or gives an expert with tokens
// nothing.
absl::StatusOr<Quotas> ComputeQuotas(const std::vector<int64_t>& tokens, const LayerPlan& layer,
                                     const std::vector<std::vector<Rank>>& hosts,
                                     const std::vector<uint32_t>& speeds,
                                     const TokenSources* sources = nullptr);

// The quotas, and whose tokens they are: a source's own host takes its tokens first, then hosts of its node,
// the rest goes in proportion; where rows travel on rails, sources of a node send as much as each other out
// of it, as far as that can be chosen (plan/deal.h). Shares sum to the counts exactly, by source and by host.
// Only those whose source or host is `wanted` ([rank], 0 or 1; empty: all) are made: a rank needs its own
// rows and columns, and that is a small part of all. Errors: InvalidArgument when sizes do not match, an
// expert with tokens has no slot (or no fraction), counts are negative or sum to more than kTokensMax, or a
// speed is 0.
absl::StatusOr<Split> ComputeSplit(const CountMatrix& counts, const LayerPlan& layer, int experts,
                                   const std::vector<uint32_t>& speeds, const Topology& topology,
                                   const std::vector<char>& wanted = {});

struct SplitWorkspace;

// The same for loops that must not allocate, and without the list: what is in `split.shares` otherwise is in
// `work.dealer`, as long as `counts` and `topology` are there.
absl::Status DivideTokens(const CountMatrix& counts, const LayerPlan& layer, int experts,
                          const std::vector<uint32_t>& speeds, const Topology& topology,
                          const std::vector<char>& wanted, SplitWorkspace& work, Split& split);

}  // namespace ballast
