#include "plan/deal.h"

#include <algorithm>

#include "plan/apportion.h"

namespace ballast {
namespace {

// Deals one expert at a time into two tables: the wanted sources' rows and the wanted hosts' columns. What a
// row gets of a column follows from the sum of the rows before it, so rows nobody asks for are only summed.
class Dealer {
 public:
  Dealer(const CountMatrix& counts, const Copies& copies, const std::vector<int64_t>& quotas,
         const Topology& topology, const std::vector<char>& wanted)
      : counts_(counts),
        copies_(copies),
        quotas_(quotas),
        topology_(topology),
        wanted_(wanted),
        ranks_of_node_(static_cast<size_t>(topology.nodes())),
        row_of_rank_(counts.size(), -1),
        column_of_copy_(static_cast<size_t>(copies.size()), -1) {
    for (int r = 0; r < static_cast<int>(counts.size()); ++r) {
      ranks_of_node_[topology.node(Rank(r)).index()].push_back(r);
      all_.push_back(r);
      if (!wanted[r]) continue;
      row_of_rank_[r] = static_cast<int>(rows_wanted_.size());
      rows_wanted_.push_back(r);
    }
    for (int c = 0; c < copies.size(); ++c) {
      if (!wanted[copies.rank[c]]) continue;
      column_of_copy_[c] = static_cast<int>(columns_wanted_.size());
      columns_wanted_.push_back(c);
    }
    row_cells_.assign(rows_wanted_.size() * static_cast<size_t>(copies.size()), 0);
    column_cells_.assign(columns_wanted_.size() * counts.size(), 0);
    left_.resize(counts.size());
    dealt_to_.assign(static_cast<size_t>(topology.nodes()), -1);
  }

  std::vector<Share> Deal() {
    for (int e = 0; e < copies_.experts(); ++e) {
      const int hosts = copies_.of(static_cast<size_t>(e));
      if (hosts == 1) {
        GiveAll(e, copies_.begin[e]);
      } else if (hosts > 1) {
        DealExpert(e);
      }
    }
    return Shares();
  }

 private:
  int NodeOf(int copy) const { return topology_.node(Rank(copies_.rank[copy])).value(); }
  int64_t* RowOf(int rank) {
    return row_cells_.data() + static_cast<size_t>(row_of_rank_[rank]) * static_cast<size_t>(copies_.size());
  }
  int64_t* ColumnOf(int copy) {
    return column_cells_.data() + static_cast<size_t>(column_of_copy_[copy]) * counts_.size();
  }

  void Put(int row, int copy, int64_t amount) {
    if (wanted_[row]) RowOf(row)[copy] += amount;
    if (column_of_copy_[copy] >= 0) ColumnOf(copy)[row] += amount;
  }

  void GiveAll(int expert, int copy) {
    for (int row : column_of_copy_[copy] >= 0 ? all_ : rows_wanted_) Put(row, copy, counts_[row][expert]);
  }

  void DealExpert(int expert) {
    const int first = copies_.begin[expert], last = copies_.begin[expert + 1];
    for (size_t row = 0; row < counts_.size(); ++row) left_[row] = counts_[row][expert];
    open_.assign(quotas_.begin() + first, quotas_.begin() + last);
    first_ = first;
    for (int c = first; c < last; ++c) {
      const int own = copies_.rank[c];
      const int64_t amount = std::min(left_[own], open_[c - first]);
      left_[own] -= amount;
      open_[c - first] -= amount;
      Put(own, c, amount);
    }
    for (int c = first; c < last; ++c) {
      const int node = NodeOf(c);
      if (dealt_to_[node] == expert) continue;
      dealt_to_[node] = expert;
      chosen_.clear();
      for (int i = c; i < last; ++i) {
        if (open_[i - first] > 0 && NodeOf(i) == node) chosen_.push_back(i);
      }
      if (!chosen_.empty()) DealInNode(ranks_of_node_[node]);
    }
    chosen_.clear();
    for (int c = first; c < last; ++c) {
      if (open_[c - first] > 0) chosen_.push_back(c);
    }
    if (!chosen_.empty()) DealRest();
  }

  // From a node's rows to the chosen copies as much as both sides have, in proportion to what each row and
  // copy has.
  void DealInNode(const std::vector<int>& rows) {
    int64_t supplied = 0, demanded = 0;
    for (int row : rows) supplied += left_[row];
    for (int c : chosen_) demanded += open_[c - first_];
    const int64_t amount = std::min(supplied, demanded);
    if (amount == 0) return;
    DivideOverChosen(amount, demanded);
    RunningShare supply(amount, supplied);
    int64_t before = 0;
    for (int row : rows) {
      const int64_t take = supply.Next(left_[row]);
      left_[row] -= take;
      if (take > 0 && (wanted_[row] || last_wanted_ > 0)) GiveRow(row, before, take);
      before += take;
    }
  }

  // What all rows still have to the chosen copies, which take just that.
  void DealRest() {
    int64_t amount = 0;
    for (int c : chosen_) amount += open_[c - first_];
    DivideOverChosen(amount, amount);
    int64_t before = 0;
    int summed = 0;
    for (int row : last_wanted_ > 0 ? all_ : rows_wanted_) {
      for (; summed < row; ++summed) before += left_[summed];
      if (left_[row] > 0) GiveRow(row, before, left_[row]);
    }
  }

  // What each chosen copy gets of `amount`, as a ratio of what those before it leave.
  void DivideOverChosen(int64_t amount, int64_t demanded) {
    ratios_.clear();
    last_wanted_ = 0;
    for (int c : chosen_) {
      int64_t& open = open_[c - first_];
      const int64_t part = ProportionalPart(amount, open, demanded);
      ratios_.push_back(RunningShare::Ratio(part, amount));
      if (column_of_copy_[c] >= 0) last_wanted_ = ratios_.size();
      demanded -= open;
      open -= part;
      amount -= part;
      if (amount == 0) break;
    }
  }

  // `take` tokens of a row, behind `before` tokens of the rows before it.
  void GiveRow(int row, int64_t before, int64_t take) {
    const size_t columns = wanted_[row] ? ratios_.size() : last_wanted_;
    for (size_t i = 0; i < columns; ++i) {
      const int64_t given_before = RunningShare::Due(before, ratios_[i]);
      const int64_t given = RunningShare::Due(before + take, ratios_[i]) - given_before;
      Put(row, chosen_[i], given);
      before -= given_before;
      take -= given;
    }
  }

  std::vector<Share> Shares() const {
    std::vector<Share> shares(row_cells_.size() + column_cells_.size());
    Share* next = shares.data();
    const auto add = [&](int source, int expert, int copy, int64_t count) {
      // Written anyhow, kept unless it is 0: which ones are cannot be foretold.
      *next = {.source = Rank(source),
               .expert = ExpertId(expert),
               .host = Rank(copies_.rank[copy]),
               .slot = copies_.slot[copy],
               .count = count};
      next += count != 0;
    };
    std::vector<int> expert_of_column;
    for (int e = 0; e < copies_.experts(); ++e) {
      for (int c = copies_.begin[e]; c < copies_.begin[e + 1]; ++c) {
        if (column_of_copy_[c] >= 0) expert_of_column.push_back(e);
      }
    }
    for (int source : all_) {
      if (wanted_[source]) {
        const int64_t* const row = row_cells_.data() + static_cast<size_t>(row_of_rank_[source]) *
                                                           static_cast<size_t>(copies_.size());
        for (int e = 0; e < copies_.experts(); ++e) {
          for (int c = copies_.begin[e]; c < copies_.begin[e + 1]; ++c) add(source, e, c, row[c]);
        }
      } else {
        for (size_t i = 0; i < columns_wanted_.size(); ++i)
          add(source, expert_of_column[i], columns_wanted_[i], column_cells_[i * counts_.size() + source]);
      }
    }
    shares.resize(static_cast<size_t>(next - shares.data()));
    return shares;
  }

  const CountMatrix& counts_;
  const Copies& copies_;
  const std::vector<int64_t>& quotas_;
  const Topology& topology_;
  const std::vector<char>& wanted_;
  std::vector<std::vector<int>> ranks_of_node_;
  std::vector<int> all_;
  std::vector<int> rows_wanted_;       // ranks, rising
  std::vector<int> row_of_rank_;       // [rank] index of a wanted source; -1
  std::vector<int> column_of_copy_;    // [copy] index of a wanted host's copy; -1
  std::vector<int> columns_wanted_;    // copies
  std::vector<int64_t> row_cells_;     // [wanted source][copy]
  std::vector<int64_t> column_cells_;  // [wanted copy][source]
  // Of the expert at hand.
  int first_ = 0;              // its first copy
  std::vector<int64_t> left_;  // [source] tokens not dealt yet
  std::vector<int64_t> open_;  // [host] tokens it still takes
  std::vector<int> chosen_;    // copies that are dealt to
  std::vector<int> dealt_to_;  // [node] the last expert whose tokens were dealt inside the node
  // Of the dealing at hand.
  std::vector<uint64_t> ratios_;  // of the chosen copies, until nothing is left
  size_t last_wanted_ = 0;        // chosen copies up to here concern rows that are not wanted
};

}  // namespace

std::vector<Share> DealShares(const CountMatrix& counts, const Copies& copies,
                              const std::vector<int64_t>& quotas, const Topology& topology,
                              const std::vector<char>& wanted) {
  return Dealer(counts, copies, quotas, topology, wanted).Deal();
}

}  // namespace ballast
