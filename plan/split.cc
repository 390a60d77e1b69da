#include "plan/split.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/rng.h"
#include "base/status_macros.h"
#include "plan/apportion.h"
#include "plan/copies.h"
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

struct TokenSums {
  std::vector<int64_t> of_expert;
  uint64_t hash = 0;  // over all counts
};

// InvalidArgument for the first count of a row that cannot be; else adds the row to `total`.
absl::Status CheckRow(const std::vector<int64_t>& row, size_t source, int64_t& total) {
  for (size_t e = 0; e < row.size(); ++e) {
    if (row[e] < 0 || row[e] > kTokensMax - total) {
      return absl::InvalidArgumentError(absl::StrCat("counts[", source, "][", e, "]: found ", row[e],
                                                     ", allowed 0.. and at most ", kTokensMax, " in all"));
    }
    total += row[e];
  }
  return absl::OkStatus();
}

// Tokens of each expert over all sources.
absl::StatusOr<TokenSums> SumTokens(const CountMatrix& counts, int experts) {
  TokenSums sums;
  sums.of_expert.assign(static_cast<size_t>(experts), 0);
  // Products of 32 bits, several of which the processor makes at once.
  std::vector<uint32_t> keys(static_cast<size_t>(experts));
  for (size_t e = 0; e < keys.size(); ++e) {
    const uint64_t key = (e + 1) * 0x9e3779b97f4a7c15ull;
    keys[e] = static_cast<uint32_t>((key ^ key >> 32) * 0xd6e8feb86659fd93ull >> 32) | 1;
  }
  int64_t total = 0;
  for (size_t s = 0; s < counts.size(); ++s) {
    const std::vector<int64_t>& row = counts[s];
    if (row.size() != keys.size()) {
      return absl::InvalidArgumentError(
          absl::StrCat("counts[", s, "]: found ", row.size(), " experts, allowed is ", experts));
    }
    // A row that could overflow, and only such a one, is looked at count by count before it is added.
    uint64_t bits = 0, sum = 0;
    for (int64_t count : row) {
      bits |= static_cast<uint64_t>(count);
      sum += static_cast<uint64_t>(count);
    }
    const bool small = bits >> 48 == 0 && row.size() <= 1 << 15;
    if (small && static_cast<int64_t>(sum) <= kTokensMax - total) {
      total += static_cast<int64_t>(sum);
    } else {
      BALLAST_RETURN_IF_ERROR(CheckRow(row, s, total));
    }
    uint64_t hash = 0;
    for (size_t e = 0; e < row.size(); ++e) {
      sums.of_expert[e] += row[e];
      const uint32_t folded = static_cast<uint32_t>(row[e] ^ row[e] >> 32);
      hash += static_cast<uint64_t>(folded) * keys[e];
    }
    sums.hash = (sums.hash ^ hash) * 0xd6e8feb86659fd93ull;
    sums.hash ^= sums.hash >> 32;
  }
  return sums;
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

// By copy.
absl::StatusOr<std::vector<int64_t>> QuotasOf(const std::vector<int64_t>& tokens, const LayerPlan& layer,
                                              const Copies& copies, const std::vector<uint32_t>& speeds,
                                              const TokenSources& sources) {
  if (layer.split.kind == SplitKind::kExact) return BalanceCopies(tokens, copies, speeds, &sources);
  BALLAST_ASSIGN_OR_RETURN(const Quotas quotas,
                           ComputeQuotas(tokens, layer, layer.Hosts(copies.experts()), speeds, &sources));
  std::vector<int64_t> flat;
  for (const std::vector<int64_t>& of_expert : quotas)
    flat.insert(flat.end(), of_expert.begin(), of_expert.end());
  return flat;
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
                                   const std::vector<uint32_t>& speeds, const Topology& topology,
                                   const std::vector<char>& wanted) {
  BALLAST_RETURN_IF_ERROR(CheckSizes(counts, layer, experts, speeds, topology));
  BALLAST_CHECK(wanted.empty() || wanted.size() == speeds.size()) << wanted.size() << " ranks";
  BALLAST_ASSIGN_OR_RETURN(const TokenSums sums, SumTokens(counts, experts));
  const Copies copies = Copies::Of(layer, experts);
  for (size_t e = 0; e < sums.of_expert.size(); ++e) {
    if (sums.of_expert[e] > 0 && copies.of(e) == 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("expert ", e, " has ", sums.of_expert[e], " tokens and no slot"));
    }
  }
  const TokenSources sources{counts, topology};
  BALLAST_ASSIGN_OR_RETURN(const std::vector<int64_t> quotas,
                           QuotasOf(sums.of_expert, layer, copies, speeds, sources));

  Split split;
  split.shares = DealShares(counts, copies, quotas, topology,
                            wanted.empty() ? std::vector<char>(speeds.size(), 1) : wanted);
  split.rank_tokens.assign(speeds.size(), 0);
  for (size_t c = 0; c < quotas.size(); ++c) split.rank_tokens[copies.rank[c]] += quotas[c];
  split.hash = Hash(sums.hash, copies, quotas);
  return split;
}

}  // namespace ballast
