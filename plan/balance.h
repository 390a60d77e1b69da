// The least possible load of the busiest rank, for given loads and hosts: the exact min-max split as a flow
// problem.
//
// minimise max over ranks of load / speed, subject to each expert's tokens being divided over its hosts in
// whole tokens. Method: discrete Newton (Dinkelbach) on the busiest rank's load; each round asks a maximum
// flow whether the bound holds, and a minimum cut of a flow that falls short is the next bound. Integers
// only; the order of every loop is fixed.
#pragma once

#include <cstdint>
#include <vector>

#include "base/ids.h"
#include "plan/copies.h"
#include "plan/topology.h"

namespace ballast {

// Tokens (assignments: one per token and k) by source rank and expert: counts[source][expert].
using CountMatrix = std::vector<std::vector<int64_t>>;

// [expert][i]: tokens of the expert that its i-th host computes.
using Quotas = std::vector<std::vector<int64_t>>;

// What this file and the split accept: sums of tokens, and ranks. Together they keep every sum here within 62
// bits.
inline constexpr int64_t kTokensMax = int64_t{1} << 48;
inline constexpr int kRanksMax = 1 << 14;

// Where tokens come from. The solver fills hosts with their own tokens first, then with those of their node.
struct TokenSources {
  const CountMatrix& counts;
  const Topology& topology;
  const std::vector<int64_t>* of_node = nullptr;  // [node][expert] sums of `counts`; null: the solver sums
};

// `tokens` by expert, `hosts` by expert (rising ranks), `speeds` by rank. The optimum over whole tokens, not
// rounded: no other division has a lower maximum of load / speed. Requires: tokens >= 0 and their sum at most
// kTokensMax, hosts in range and not empty where there are tokens, speeds above 0; with `sources`, counts
// that sum to tokens.
Quotas BalanceExactly(const std::vector<int64_t>& tokens, const std::vector<std::vector<Rank>>& hosts,
                      const std::vector<uint32_t>& speeds, const TokenSources* sources = nullptr);

// The same by copy, for loops that must not allocate much.
std::vector<int64_t> BalanceCopies(const std::vector<int64_t>& tokens, const Copies& copies,
                                   const std::vector<uint32_t>& speeds, const TokenSources* sources);

// Tokens per rank under `quotas`.
std::vector<int64_t> RankTokens(const Quotas& quotas, const std::vector<std::vector<Rank>>& hosts, int ranks);

}  // namespace ballast
