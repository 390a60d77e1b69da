#include "plan/split.h"

#include <algorithm>
#include <map>

#include "absl/strings/str_cat.h"
#include "base/rng.h"
#include "base/status_macros.h"
#include "plan/apportion.h"

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

// Sources `rows` of one expert's tokens to its hosts `columns`: takes from both what it hands out.
class Dealer {
 public:
  Dealer(std::vector<int64_t> rows, std::vector<int64_t> columns)
      : rows_(std::move(rows)),
        columns_(std::move(columns)),
        cells_(rows_.size(), std::vector<int64_t>(columns_.size(), 0)) {}

  void Deal(size_t row, size_t column, int64_t amount) {
    rows_[row] -= amount;
    columns_[column] -= amount;
    cells_[row][column] += amount;
  }

  // As much as both sides have, in proportion to what each row and column has.
  void DealInProportion(const std::vector<size_t>& rows, const std::vector<size_t>& columns) {
    std::vector<int64_t> supply, demand;
    int64_t supplied = 0, demanded = 0;
    for (size_t row : rows) supplied += supply.emplace_back(rows_[row]);
    for (size_t column : columns) demanded += demand.emplace_back(columns_[column]);
    const int64_t amount = std::min(supplied, demanded);
    if (amount == 0) return;
    if (amount < supplied) supply = Apportion(amount, supply);
    if (amount < demanded) demand = Apportion(amount, demand);
    const auto cells = ApportionTable(supply, demand);
    for (size_t i = 0; i < rows.size(); ++i) {
      for (size_t j = 0; j < columns.size(); ++j) Deal(rows[i], columns[j], cells[i][j]);
    }
  }

  int64_t row(size_t i) const { return rows_[i]; }
  int64_t column(size_t j) const { return columns_[j]; }
  int64_t cell(size_t i, size_t j) const { return cells_[i][j]; }

 private:
  std::vector<int64_t> rows_;     // [source] tokens not dealt yet
  std::vector<int64_t> columns_;  // [host index] tokens it still takes
  std::vector<std::vector<int64_t>> cells_;
};

// Deals one expert's tokens: own rank, then own node, then the rest.
Dealer DealExpert(const CountMatrix& counts, size_t expert, const std::vector<Rank>& hosts,
                  const std::vector<int64_t>& quota, const Topology& topology) {
  std::vector<int64_t> rows;
  for (const auto& row : counts) rows.push_back(row[expert]);
  Dealer dealer(std::move(rows), quota);
  for (size_t j = 0; j < hosts.size(); ++j) {
    const size_t own = hosts[j].index();
    dealer.Deal(own, j, std::min(dealer.row(own), dealer.column(j)));
  }
  std::map<NodeId, std::vector<size_t>> hosts_of_node;
  for (size_t j = 0; j < hosts.size(); ++j) {
    if (dealer.column(j) > 0) hosts_of_node[topology.node(hosts[j])].push_back(j);
  }
  for (const auto& [node, columns] : hosts_of_node) {
    std::vector<size_t> sources;
    for (Rank rank : topology.RanksOf(node)) sources.push_back(rank.index());
    dealer.DealInProportion(sources, columns);
  }
  std::vector<size_t> sources(counts.size()), columns(hosts.size());
  for (size_t i = 0; i < sources.size(); ++i) sources[i] = i;
  for (size_t j = 0; j < columns.size(); ++j) columns[j] = j;
  dealer.DealInProportion(sources, columns);
  return dealer;
}

uint64_t Hash(const Split& split) {
  uint64_t hash = HashSeed({split.shares.size()});
  for (size_t s = 0; s < split.shares.size(); ++s) {
    for (size_t e = 0; e < split.shares[s].size(); ++e) {
      for (const Share& share : split.shares[s][e]) {
        hash = HashSeed({hash, s, e, static_cast<uint64_t>(share.host.value()),
                         static_cast<uint64_t>(share.slot), static_cast<uint64_t>(share.count)});
      }
    }
  }
  return hash;
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
  split.shares.assign(counts.size(), std::vector<std::vector<Share>>(hosts.size()));
  for (size_t e = 0; e < hosts.size(); ++e) {
    if (tokens[e] == 0) continue;
    std::vector<int> slots;
    for (Rank host : hosts[e]) slots.push_back(*layer.SlotIndex(host, ExpertId(static_cast<int32_t>(e))));
    if (hosts[e].size() == 1) {
      for (size_t s = 0; s < counts.size(); ++s) {
        if (counts[s][e] > 0) split.shares[s][e].push_back({hosts[e][0], slots[0], counts[s][e]});
      }
      continue;
    }
    const Dealer dealt = DealExpert(counts, e, hosts[e], quotas[e], topology);
    for (size_t s = 0; s < counts.size(); ++s) {
      for (size_t j = 0; j < hosts[e].size(); ++j) {
        if (dealt.cell(s, j) > 0) split.shares[s][e].push_back({hosts[e][j], slots[j], dealt.cell(s, j)});
      }
    }
  }
  split.rank_tokens = RankTokens(quotas, hosts, static_cast<int>(speeds.size()));
  split.hash = Hash(split);
  return split;
}

}  // namespace ballast
