#include "plan/split.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/rng.h"
#include "base/status_macros.h"
#include "plan/apportion.h"
#include "plan/deal.h"

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

// Tokens of each expert over all sources.
absl::StatusOr<std::vector<int64_t>> SumTokens(const CountMatrix& counts, int experts) {
  std::vector<int64_t> tokens(static_cast<size_t>(experts), 0);
  int64_t total = 0;
  for (size_t s = 0; s < counts.size(); ++s) {
    if (counts[s].size() != tokens.size()) {
      return absl::InvalidArgumentError(
          absl::StrCat("counts[", s, "]: found ", counts[s].size(), " experts, allowed is ", experts));
    }
    for (size_t e = 0; e < tokens.size(); ++e) {
      const int64_t count = counts[s][e];
      if (count < 0 || count > kTokensMax - total) {
        return absl::InvalidArgumentError(absl::StrCat("counts[", s, "][", e, "]: found ", count,
                                                       ", allowed 0.. and at most ", kTokensMax, " in all"));
      }
      total += count;
      tokens[e] += count;
    }
  }
  return tokens;
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

uint64_t Hash(const std::vector<Share>& shares) {
  uint64_t hash = HashSeed({shares.size()});
  for (const Share& share : shares) {
    // A sum, so that the shares' terms do not wait for each other; each names its place.
    uint64_t term = static_cast<uint64_t>(share.source.value()) << 48 ^
                    static_cast<uint64_t>(share.expert.value()) << 32 ^
                    static_cast<uint64_t>(share.host.value()) << 16 ^ static_cast<uint64_t>(share.slot);
    term = term * 0x9e3779b97f4a7c15ull + static_cast<uint64_t>(share.count);
    term = (term ^ term >> 32) * 0xd6e8feb86659fd93ull;
    hash += term ^ term >> 32;
  }
  return HashSeed({hash});
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

absl::StatusOr<Split> ComputeSplit(const CountMatrix& counts, const LayerPlan& layer, int experts,
                                   const std::vector<uint32_t>& speeds, const Topology& topology) {
  BALLAST_RETURN_IF_ERROR(CheckSizes(counts, layer, experts, speeds, topology));
  BALLAST_ASSIGN_OR_RETURN(const std::vector<int64_t> tokens, SumTokens(counts, experts));
  const Hosts hosts = layer.Hosts(experts);
  for (size_t e = 0; e < hosts.size(); ++e) {
    if (tokens[e] > 0 && hosts[e].empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat("expert ", e, " has ", tokens[e], " tokens and no slot"));
    }
  }
  const TokenSources sources{counts, topology};
  BALLAST_ASSIGN_OR_RETURN(const Quotas quotas, ComputeQuotas(tokens, layer, hosts, speeds, &sources));

  Split split;
  split.shares = DealShares(counts, layer, hosts, quotas, topology);
  split.rank_tokens = RankTokens(quotas, hosts, static_cast<int>(speeds.size()));
  split.hash = Hash(split.shares);
  return split;
}

}  // namespace ballast
