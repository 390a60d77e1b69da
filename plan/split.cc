#include "plan/split.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/rng.h"
#include "base/status_macros.h"
#include "plan/apportion.h"
#include "plan/split_workspace.h"

namespace ballast {
namespace {

using Hosts = std::vector<std::vector<Rank>>;

absl::Status CheckSizes(const CountMatrix& counts, const LayerPlan& layer, int experts,
                        const std::vector<uint32_t>& speeds, const Topology& topology) {
  const size_t ranks = speeds.size();
  if (ranks == 0 || ranks > kRanksMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("speeds: found ", ranks, " ranks, allowed 1..", kRanksMax));
  }
  if (experts < 1)
    return absl::InvalidArgumentError(absl::StrCat("experts: found ", experts, ", allowed is at least 1"));
  if (counts.size() != ranks || layer.slots.size() != ranks || topology.node_of_rank.size() != ranks) {
    return absl::InvalidArgumentError(absl::StrCat("speeds of ", ranks, " ranks, but counts of ",
                                                   counts.size(), ", slots of ", layer.slots.size(),
                                                   ", topology of ", topology.node_of_rank.size()));
  }
  for (size_t r = 0; r < ranks; ++r) {
    if (speeds[r] == 0)
      return absl::InvalidArgumentError(absl::StrCat("speeds[", r, "]: found 0, allowed is at least 1"));
    for (size_t i = 0; i < layer.slots[r].size(); ++i) {
      const Slot& slot = layer.slots[r][i];
      if (slot && (slot->value() < 0 || slot->value() >= experts)) {
        return absl::InvalidArgumentError(absl::StrCat("slots[", r, "][", i, "]: found expert ",
                                                       slot->value(), ", allowed 0..", experts - 1));
      }
    }
  }
  return absl::OkStatus();
}

// Parts of 2^16 that the layer's table gives to each host.
absl::StatusOr<std::vector<std::vector<int64_t>>> Fractions(const LayerPlan& layer, const Hosts& hosts) {
  std::vector<std::vector<int64_t>> weights(hosts.size());
  for (size_t e = 0; e < hosts.size(); ++e) {
    for (Rank host : hosts[e]) {
      const size_t slot = static_cast<size_t>(*layer.SlotIndex(host, ExpertId(static_cast<int32_t>(e))));
      const auto& table = layer.split.fractions;
      if (host.index() >= table.size() || slot >= table[host.index()].size()) {
        return absl::InvalidArgumentError(absl::StrCat("fractions[", host.value(), "][", slot, "]: missing"));
      }
      weights[e].push_back(table[host.index()][slot]);
    }
  }
  return weights;
}

uint64_t Hash(uint64_t counts, const Copies& copies, const std::vector<int64_t>& quotas) {
  uint64_t hash = HashSeed({counts, static_cast<uint64_t>(copies.experts()), quotas.size()});
  for (int e = 0; e < copies.experts(); ++e) {
    for (int c = copies.begin[e]; c < copies.begin[e + 1]; ++c) {
      // A sum, so that the copies' terms do not wait for each other; each names its place.
      uint64_t term = static_cast<uint64_t>(e) << 32 ^ static_cast<uint64_t>(copies.rank[c]) << 16 ^
                      static_cast<uint64_t>(copies.slot[c]);
      term = term * 0x9e3779b97f4a7c15ull + static_cast<uint64_t>(quotas[c]);
      term = (term ^ term >> 32) * 0xd6e8feb86659fd93ull;
      hash += term ^ term >> 32;
    }
  }
  return HashSeed({hash});
}

absl::Status FindQuotas(const LayerPlan& layer, const std::vector<uint32_t>& speeds,
                        const TokenSources& sources, SplitWorkspace& work) {
  if (layer.split.kind == SplitKind::kExact) {
    work.solver.Solve(work.sums.of_expert, work.copies, speeds, &sources, work.quotas);
    return absl::OkStatus();
  }
  BALLAST_ASSIGN_OR_RETURN(
      const Quotas quotas,
      ComputeQuotas(work.sums.of_expert, layer, layer.Hosts(work.copies.experts()), speeds, &sources));
  work.quotas.clear();
  for (const std::vector<int64_t>& of_expert : quotas)
    work.quotas.insert(work.quotas.end(), of_expert.begin(), of_expert.end());
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Quotas> ComputeQuotas(const std::vector<int64_t>& tokens, const LayerPlan& layer,
                                     const Hosts& hosts, const std::vector<uint32_t>& speeds,
                                     const TokenSources* sources) {
  if (layer.split.kind == SplitKind::kExact) return BalanceExactly(tokens, hosts, speeds, sources);
  std::vector<std::vector<int64_t>> weights;
  if (layer.split.kind == SplitKind::kFractions) {
    BALLAST_ASSIGN_OR_RETURN(weights, Fractions(layer, hosts));
  } else if (layer.split.kind == SplitKind::kEven) {
    for (const std::vector<Rank>& ranks : hosts) weights.emplace_back(ranks.size(), 1);
  } else {
    return absl::InvalidArgumentError(absl::StrCat("split kind: found ", static_cast<int>(layer.split.kind),
                                                   ", allowed 1 (exact), 2 (fractions), 3 (even)"));
  }
  Quotas quotas;
  for (size_t e = 0; e < tokens.size(); ++e) {
    const bool some =
        std::any_of(weights[e].begin(), weights[e].end(), [](int64_t weight) { return weight > 0; });
    if (tokens[e] > 0 && !some) {
      return absl::InvalidArgumentError(absl::StrCat("fractions of expert ", e, ": all are 0"));
    }
    quotas.push_back(Apportion(tokens[e], weights[e]));
  }
  return quotas;
}

absl::Status DivideTokens(const CountMatrix& counts, const LayerPlan& layer, int experts,
                          const std::vector<uint32_t>& speeds, const Topology& topology,
                          const std::vector<char>& wanted, SplitWorkspace& work, Split& split) {
  BALLAST_RETURN_IF_ERROR(CheckSizes(counts, layer, experts, speeds, topology));
  BALLAST_CHECK(wanted.empty() || wanted.size() == speeds.size()) << wanted.size() << " ranks";
  BALLAST_RETURN_IF_ERROR(SumCounts(counts, experts, topology, work.sums));
  work.copies.Set(layer, experts);
  for (size_t e = 0; e < work.sums.of_expert.size(); ++e) {
    if (work.sums.of_expert[e] > 0 && work.copies.of(e) == 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("expert ", e, " has ", work.sums.of_expert[e], " tokens and no slot"));
    }
  }
  const TokenSources sources{counts, topology, &work.sums.of_node};
  BALLAST_RETURN_IF_ERROR(FindQuotas(layer, speeds, sources, work));
  if (wanted.empty()) work.all.assign(speeds.size(), 1);
  // There, what a port carries is what its own rank's tokens want elsewhere.
  const bool even_out = layer.schedule.all_to_all == kRails;
  work.dealer.Deal(sources, work.copies, work.quotas, wanted.empty() ? work.all : wanted, even_out);
  split.shares.clear();
  split.rank_tokens.assign(speeds.size(), 0);
  for (size_t c = 0; c < work.quotas.size(); ++c) split.rank_tokens[work.copies.rank[c]] += work.quotas[c];
  split.hash = Hash(work.sums.hash, work.copies, work.quotas);
  if (even_out) split.hash = HashSeed({split.hash, 1});
  return absl::OkStatus();
}

absl::StatusOr<Split> ComputeSplit(const CountMatrix& counts, const LayerPlan& layer, int experts,
                                   const std::vector<uint32_t>& speeds, const Topology& topology,
                                   const std::vector<char>& wanted) {
  SplitWorkspace work;
  Split split;
  BALLAST_RETURN_IF_ERROR(DivideTokens(counts, layer, experts, speeds, topology, wanted, work, split));
  split.shares.reserve(work.dealer.shares());
  Rank source;
  work.dealer.ForEach([&](int rank) { source = Rank(rank); },
                      [&](int copy, int expert, int64_t count) {
                        if (count == 0) return;
                        split.shares.push_back({.source = source,
                                                .expert = ExpertId(expert),
                                                .host = Rank(work.copies.rank[copy]),
                                                .slot = work.copies.slot[copy],
                                                .count = count});
                      });
  return split;
}

}  // namespace ballast
