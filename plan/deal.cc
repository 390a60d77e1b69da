#include "plan/deal.h"

#include <algorithm>

#include "plan/apportion.h"

namespace ballast {

// Deals one expert at a time into two tables: the wanted sources' rows and the wanted hosts' columns. What a
// row gets of a column follows from the sum of the rows before it, so rows nobody asks for are only summed,
// and for most experts by whole nodes.
void ShareDealer::Deal(const TokenSources& sources, const Copies& copies, const std::vector<int64_t>& quotas,
                       const std::vector<char>& wanted, bool even_out) {
  even_out_ = even_out;
  of_node_ = sources.of_node;
  copies_ = &copies;
  quotas_ = &quotas;
  ranks_ = static_cast<int>(sources.counts.size());
  node_of_rank_.resize(sources.counts.size());
  counts_of_rank_.resize(sources.counts.size());
  for (int r = 0; r < ranks_; ++r) counts_of_rank_[r] = sources.counts[r].data();
  nodes_.assign(static_cast<size_t>(sources.topology.nodes()), Node());
  for (int r = 0; r < ranks_; ++r) node_of_rank_[r] = sources.topology.node_of_rank[r].value();
  Prepare(wanted);
  if (even_out_) SumWhatMustLeave();
  for (int e = 0; e < copies.experts(); ++e) {
    const int hosts = copies.of(static_cast<size_t>(e));
    if (hosts == 1) {
      GiveAll(e, copies.begin[e]);
    } else if (hosts > 1) {
      DealExpert(e);
    }
  }
  SumRows();
}

void ShareDealer::Prepare(const std::vector<char>& wanted) {
  rows_wanted_.clear();
  row_of_rank_.assign(static_cast<size_t>(ranks_), -1);
  next_of_node_.assign(static_cast<size_t>(ranks_), -1);
  for (int r = 0; r < ranks_; ++r) {
    Node& node = nodes_[node_of_rank_[r]];
    (node.first < 0 ? node.first : next_of_node_[node.last]) = r;
    node.last = r;
    if (!wanted[r]) continue;
    row_of_rank_[r] = static_cast<int>(rows_wanted_.size());
    rows_wanted_.push_back(r);
  }
  for (Node& node : nodes_) {
    const auto inside = std::lower_bound(rows_wanted_.begin(), rows_wanted_.end(), node.first);
    // What a node's rows send depends on each of them, in all experts.
    node.closed = !even_out_ && (inside == rows_wanted_.end() || *inside > node.last);
  }
  order_.clear();
  for (int r = 0; r < ranks_; ++r) {
    const Node& node = nodes_[node_of_rank_[r]];
    if (!node.closed) {
      order_.push_back(r);
    } else if (node.last == r) {
      order_.push_back(~node_of_rank_[r]);
    }
  }

  columns_wanted_.clear();
  column_of_copy_.assign(static_cast<size_t>(copies_->size()), -1);
  expert_has_column_.assign(static_cast<size_t>(copies_->experts()), 0);
  expert_of_copy_.resize(static_cast<size_t>(copies_->size()));
  for (int e = 0; e < copies_->experts(); ++e) {
    for (int c = copies_->begin[e]; c < copies_->begin[e + 1]; ++c) {
      expert_of_copy_[c] = e;
      if (row_of_rank_[copies_->rank[c]] < 0) continue;
      column_of_copy_[c] = static_cast<int>(columns_wanted_.size());
      columns_wanted_.push_back(c);
      expert_has_column_[e] = 1;
    }
  }
  row_cells_.assign(rows_wanted_.size() * static_cast<size_t>(copies_->size()), 0);
  column_cells_.assign(columns_wanted_.size() * static_cast<size_t>(ranks_), 0);
  left_.resize(static_cast<size_t>(ranks_));
}

// What sources have of experts without a copy in their node.
void ShareDealer::SumWhatMustLeave() {
  const auto experts = static_cast<size_t>(copies_->experts());
  away_.assign(nodes_.size() * experts, -1);
  for (int c = 0; c < copies_->size(); ++c)
    away_[static_cast<size_t>(node_of_rank_[copies_->rank[c]]) * experts +
          static_cast<size_t>(expert_of_copy_[c])] = 0;
  sent_.resize(static_cast<size_t>(ranks_));
  take_.resize(static_cast<size_t>(ranks_));
  for (int r = 0; r < ranks_; ++r) {
    const int64_t* const away = away_.data() + static_cast<size_t>(node_of_rank_[r]) * experts;
    const int64_t* const counts = counts_of_rank_[r];
    int64_t sum = 0;
    for (size_t e = 0; e < experts; ++e) sum += counts[e] & away[e];
    sent_[r] = sum;
  }
}

// `amount` of the `supplied` tokens of a node's rows leaves it, from those that have sent least so far: up to
// one level of tokens sent, as far as each row has some; what whole tokens leave over comes from the first
// rows.
void ShareDealer::LeaveEvenly(const Node& node, int64_t supplied, int64_t amount) {
  if (amount == 0 || amount == supplied) {
    for (int row = node.first; row >= 0; row = next_of_node_[row]) {
      take_[row] = amount == 0 ? left_[row] : 0;
      sent_[row] += left_[row] - take_[row];
    }
    return;
  }
  // Levels: what leaves up to `low` is no more than amount, up to `high` it is all there is.
  int64_t low = kTokensMax, high = 0, below = 0, above = supplied;
  leaving_.clear();
  for (int row = node.first; row >= 0; row = next_of_node_[row]) {
    take_[row] = 0;
    if (left_[row] == 0) continue;
    leaving_.push_back({row, sent_[row], sent_[row] + left_[row]});
    low = std::min(low, leaving_.back().from);
    high = std::max(high, leaving_.back().to);
  }
  const auto risen = [](const Leaving& row, int64_t level) {
    return std::clamp(level, row.from, row.to) - row.from;
  };
  // Between two levels the sum bends a few times only: where a straight line would have it is a good guess.
  for (bool guess = true; high - low > 1; guess = !guess) {
    int64_t level = low + (high - low) / 2;
    if (guess)
      level =
          std::clamp(low + ProportionalPart(high - low, amount - below, above - below), low + 1, high - 1);
    int64_t sum = 0;
    for (const Leaving& row : leaving_) sum += risen(row, level);
    (sum <= amount ? low : high) = level;
    (sum <= amount ? below : above) = sum;
  }
  amount -= below;
  for (const Leaving& row : leaving_) {
    int64_t leaves = risen(row, low);
    if (amount > 0 && row.from <= low && low < row.to) {
      ++leaves;
      --amount;
    }
    sent_[row.rank] += leaves;
    take_[row.rank] = left_[row.rank] - leaves;
  }
}

void ShareDealer::GiveAll(int expert, int copy) {
  for (size_t i = 0; i < rows_wanted_.size(); ++i)
    RowOf(static_cast<int>(i))[copy] = Count(rows_wanted_[i], expert);
  const int column = column_of_copy_[copy];
  if (column < 0) return;
  for (int row = 0; row < ranks_; ++row) ColumnsOf(row)[column] = Count(row, expert);
}

void ShareDealer::LookUp(int expert) {
  in_full_ = expert_has_column_[expert] != 0;
  if (in_full_) {
    for (int row = 0; row < ranks_; ++row) left_[row] = Count(row, expert);
    return;
  }
  const int64_t* const of_node = of_node_->data() + expert;
  for (int item : order_) {
    if (item >= 0) {
      left_[item] = Count(item, expert);
    } else {
      nodes_[~item].left = of_node[static_cast<size_t>(~item) * static_cast<size_t>(copies_->experts())];
    }
  }
}

void ShareDealer::DealExpert(int expert) {
  const int first = copies_->begin[expert], last = copies_->begin[expert + 1];
  first_ = first;
  LookUp(expert);
  open_.assign(quotas_->begin() + first, quotas_->begin() + last);
  for (int c = first; c < last; ++c) {
    const int own = copies_->rank[c];
    Node& node = nodes_[node_of_rank_[own]];
    const bool sum = node.closed && !in_full_;
    int64_t& open = open_[c - first];
    // Of one expert, a rank has one copy: nobody else has touched what starts here.
    const int64_t amount = std::min(sum ? Count(own, expert) : left_[own], open);
    open -= amount;
    (sum ? node.left : left_[own]) -= amount;
    if (row_of_rank_[own] >= 0) RowOf(row_of_rank_[own])[c] = amount;
  }
  for (int c = first; c < last; ++c) {
    const int node = node_of_rank_[copies_->rank[c]];
    if (nodes_[node].dealt_to == expert) continue;
    nodes_[node].dealt_to = expert;
    chosen_.clear();
    for (int i = c; i < last; ++i) {
      if (open_[i - first] > 0 && node_of_rank_[copies_->rank[i]] == node) chosen_.push_back(i);
    }
    if (!chosen_.empty() || even_out_) DealInNode(node);
  }
  chosen_.clear();
  for (int c = first; c < last; ++c) {
    if (open_[c - first] > 0) chosen_.push_back(c);
  }
  if (!chosen_.empty()) DealRest();
}

// From a node's rows to the chosen copies as much as both sides have, in proportion to what each copy has,
// and to what each row has or so that what rows keep evens what they have sent.
void ShareDealer::DealInNode(int index) {
  Node& node = nodes_[index];
  const bool sum = node.closed && !in_full_;
  int64_t supplied = 0, demanded = 0;
  if (sum) {
    supplied = node.left;
  } else {
    for (int row = node.first; row >= 0; row = next_of_node_[row]) supplied += left_[row];
  }
  for (int c : chosen_) demanded += open_[c - first_];
  const int64_t amount = std::min(supplied, demanded);
  if (even_out_) LeaveEvenly(node, supplied, supplied - amount);
  if (amount == 0) return;
  DivideOverChosen(amount, demanded, /*ratios=*/!sum);
  if (sum) {
    node.left -= amount;
    return;
  }
  RunningShare supply(amount, supplied);
  int64_t before = 0;
  for (int row = node.first; row >= 0; row = next_of_node_[row]) {
    const int64_t take = even_out_ ? take_[row] : supply.Next(left_[row]);
    left_[row] -= take;
    if (take > 0 && (row_of_rank_[row] >= 0 || last_wanted_ > 0)) GiveRow(row, before, take);
    before += take;
  }
}

// What all rows still have to the chosen copies, which take just that.
void ShareDealer::DealRest() {
  if (!in_full_ &&
      std::all_of(rows_wanted_.begin(), rows_wanted_.end(), [this](int row) { return left_[row] == 0; }))
    return;
  int64_t amount = 0;
  for (int c : chosen_) amount += open_[c - first_];
  DivideOverChosen(amount, amount, /*ratios=*/true);
  int64_t before = 0;
  if (in_full_) {
    for (int row = 0; row < ranks_; ++row) {
      if (left_[row] > 0 && (row_of_rank_[row] >= 0 || last_wanted_ > 0)) GiveRow(row, before, left_[row]);
      before += left_[row];
    }
    return;
  }
  for (int item : order_) {
    if (item < 0) {
      before += nodes_[~item].left;
      continue;
    }
    if (left_[item] > 0 && row_of_rank_[item] >= 0) GiveRow(item, before, left_[item]);
    if (item == rows_wanted_.back()) return;
    before += left_[item];
  }
}

// What each chosen copy gets of `amount`, as a ratio of what those before it leave.
void ShareDealer::DivideOverChosen(int64_t amount, int64_t demanded, bool ratios) {
  ratios_.clear();
  last_wanted_ = 0;
  for (int c : chosen_) {
    int64_t& open = open_[c - first_];
    // All that is demanded, or all that is left: no division is needed to see that.
    const int64_t part = amount == demanded ? open
                         : open == demanded ? amount
                                            : ProportionalPart(amount, open, demanded);
    if (ratios) ratios_.push_back(RunningShare::Ratio(part, amount));
    if (column_of_copy_[c] >= 0) last_wanted_ = ratios_.size();
    demanded -= open;
    open -= part;
    amount -= part;
    if (amount == 0) break;
  }
}

// `take` tokens of a row, behind `before` tokens of the rows before it.
void ShareDealer::GiveRow(int row, int64_t before, int64_t take) {
  const uint64_t* const ratios = ratios_.data();
  const int* const chosen = chosen_.data();
  const auto next = [&](uint64_t ratio) {
    const int64_t given_before = RunningShare::Due(before, ratio);
    const int64_t given = RunningShare::Due(before + take, ratio) - given_before;
    before -= given_before;
    take -= given;
    return given;
  };
  if (row_of_rank_[row] >= 0) {
    int64_t* const cells = RowOf(row_of_rank_[row]);
    const size_t size = ratios_.size();
    for (size_t i = 0; i < size; ++i) cells[chosen[i]] += next(ratios[i]);
    return;
  }
  int64_t* const cells = ColumnsOf(row);
  const int* const column_of_copy = column_of_copy_.data();
  const size_t last = last_wanted_;
  for (size_t i = 0; i < last; ++i) {
    const int64_t given = next(ratios[i]);
    const int column = column_of_copy[chosen[i]];
    if (column >= 0) cells[column] += given;
  }
}

void ShareDealer::SumRows() {
  // All that a wanted host takes is dealt to it here; of another one, what wanted sources send.
  rows_.assign(expert_of_copy_.size(), 0);
  int64_t* const rows = rows_.data();
  const size_t copies = rows_.size(), columns = columns_wanted_.size();
  size_t found = 0;
  for (int source = 0; source < ranks_; ++source) {
    if (row_of_rank_[source] >= 0) {
      const int64_t* const cells = row_cells_.data() + RowAt(row_of_rank_[source]);
      for (size_t c = 0; c < copies; ++c) {
        rows[c] += cells[c];
        found += cells[c] != 0;
      }
    } else {
      const int64_t* const cells = column_cells_.data() + ColumnsAt(source);
      for (size_t i = 0; i < columns; ++i) found += cells[i] != 0;
    }
  }
  shares_ = found;
  for (int c : columns_wanted_) rows_[c] = (*quotas_)[c];
}

}  // namespace ballast
