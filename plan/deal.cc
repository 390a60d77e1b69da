#include "plan/deal.h"

#include <algorithm>

#include "plan/apportion.h"

namespace ballast {
namespace {

// Deals the tokens of experts with several hosts, one expert at a time.
class Dealer {
 public:
  explicit Dealer(const Topology& topology) : topology_(topology), ranks_of_node_(topology.nodes()) {
    for (int r = 0; r < topology.ranks(); ++r) {
      ranks_of_node_[topology.node(Rank(r)).index()].push_back(r);
      all_.push_back(r);
    }
    take_.resize(all_.size());
  }

  // Into cells[source * stride + host], zeros.
  void Deal(const CountMatrix& counts, size_t expert, const std::vector<Rank>& hosts,
            const std::vector<int64_t>& quota, int64_t* cells, size_t stride) {
    rows_.clear();
    for (const std::vector<int64_t>& row : counts) rows_.push_back(row[expert]);
    columns_ = quota;
    cells_ = cells;
    stride_ = stride;
    for (size_t j = 0; j < hosts.size(); ++j) {
      const int own = hosts[j].value();
      Put(own, j, std::min(rows_[own], columns_[j]));
    }
    for (size_t j = 0; j < hosts.size(); ++j) {
      const NodeId node = topology_.node(hosts[j]);
      bool seen = false;
      chosen_.clear();
      for (size_t i = 0; i < hosts.size(); ++i) {
        if (topology_.node(hosts[i]) != node) continue;
        seen |= i < j;
        if (columns_[i] > 0) chosen_.push_back(i);
      }
      if (!seen && !chosen_.empty()) DealInProportion(ranks_of_node_[node.index()]);
    }
    chosen_.clear();
    for (size_t i = 0; i < hosts.size(); ++i) {
      if (columns_[i] > 0) chosen_.push_back(i);
    }
    if (!chosen_.empty()) DealInProportion(all_);
  }

 private:
  void Put(int row, size_t column, int64_t amount) {
    rows_[row] -= amount;
    columns_[column] -= amount;
    cells_[static_cast<size_t>(row) * stride_ + column] += amount;
  }

  // From `rows` to the chosen columns as much as both sides have, in proportion to what each row and column
  // has.
  void DealInProportion(const std::vector<int>& rows) {
    int64_t supplied = 0, demanded = 0;
    for (int row : rows) supplied += rows_[row];
    for (size_t column : chosen_) demanded += columns_[column];
    int64_t amount = std::min(supplied, demanded);
    if (amount == 0) return;
    RunningShare supply(amount, supplied);
    for (size_t i = 0; i < rows.size(); ++i) take_[i] = supply.Next(rows_[rows[i]]);
    for (size_t column : chosen_) {
      const int64_t part = ProportionalPart(amount, columns_[column], demanded);
      demanded -= columns_[column];
      RunningShare share(part, amount);
      for (size_t i = 0; i < rows.size(); ++i) {
        const int64_t given = share.Next(take_[i]);
        take_[i] -= given;
        Put(rows[i], column, given);
      }
      amount -= part;
      if (amount == 0) return;
    }
  }

  const Topology& topology_;
  std::vector<std::vector<int>> ranks_of_node_;
  std::vector<int> all_;
  std::vector<int64_t> rows_;     // [source] tokens not dealt yet
  std::vector<int64_t> columns_;  // [host] tokens it still takes
  std::vector<int64_t> take_;     // of the rows that are dealt from
  std::vector<size_t> chosen_;    // columns that are dealt to
  int64_t* cells_ = nullptr;
  size_t stride_ = 0;
};

}  // namespace

std::vector<Share> DealShares(const CountMatrix& counts, const LayerPlan& layer,
                              const std::vector<std::vector<Rank>>& hosts, const Quotas& quotas,
                              const Topology& topology) {
  // A copy is one (expert, host) pair, by expert and rising host.
  std::vector<Share> copies;
  std::vector<size_t> single;  // copies of experts with one host
  Dealer dealer(topology);
  size_t size = 0;
  for (const std::vector<Rank>& ranks : hosts) size += ranks.size();
  std::vector<int64_t> cells(counts.size() * size, 0);  // [source][copy]
  for (size_t e = 0; e < hosts.size(); ++e) {
    const ExpertId expert(static_cast<int32_t>(e));
    if (hosts[e].size() == 1) single.push_back(copies.size());
    if (hosts[e].size() > 1) dealer.Deal(counts, e, hosts[e], quotas[e], cells.data() + copies.size(), size);
    for (Rank host : hosts[e])
      copies.push_back(
          {.source = {}, .expert = expert, .host = host, .slot = *layer.SlotIndex(host, expert)});
  }

  std::vector<Share> shares(cells.size());
  Share* next = shares.data();
  for (size_t s = 0; s < counts.size(); ++s) {
    int64_t* const row = cells.data() + s * size;
    for (size_t c : single) row[c] = counts[s][copies[c].expert.index()];
    const Rank source(static_cast<int32_t>(s));
    for (size_t c = 0; c < size; ++c) {
      // Written anyhow, kept unless it is 0: which ones are cannot be foretold.
      *next = copies[c];
      next->source = source;
      next->count = row[c];
      next += row[c] != 0;
    }
  }
  shares.resize(static_cast<size_t>(next - shares.data()));
  return shares;
}

}  // namespace ballast
