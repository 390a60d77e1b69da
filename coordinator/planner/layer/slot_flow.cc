#include "coordinator/planner/layer/slot_flow.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace ballast {

SlotFlow::SlotFlow(const LayerTask& task, const SlotTable& table, double bound)
    : begin_{0}, left_(task.load), hosts_(task.load.size()), capacity_(table.size(), 0) {
  for (int g = 0; g < task.ranks(); ++g) {
    for (int e : table[g]) {
      if (e != kNoExpert) hosts_[e].push_back(static_cast<int>(held_.size()));
      held_.push_back(e);
      rank_of_slot_.push_back(g);
    }
    begin_.push_back(static_cast<int>(held_.size()));
  }
  for (const std::vector<int>& slots : hosts_) copies_.push_back(static_cast<int>(slots.size()));
  flow_.assign(held_.size(), 0);
  spare_.assign(table.size(), 0);
  for (int64_t load : left_) unrouted_ += load;
  step_.resize(spare_.size());
  seen_.assign(left_.size(), 0);
  stuck_.assign(left_.size(), 0);
  Raise(task, bound);
}

void SlotFlow::Raise(const LayerTask& task, double bound) {
  const double total = static_cast<double>(task.total_load());
  for (int g = 0; g < task.ranks(); ++g) {
    const auto capacity = static_cast<int64_t>(std::min(std::floor(bound * task.speeds[g]), total));
    BALLAST_CHECK(capacity >= capacity_[g]) << capacity << " after " << capacity_[g];
    spare_[g] += capacity - capacity_[g];
    capacity_[g] = capacity;
  }
  RouteAll();
  journal_.clear();
}

SlotTable SlotFlow::table() const {
  SlotTable table;
  for (size_t g = 0; g < spare_.size(); ++g)
    table.emplace_back(held_.begin() + begin_[g], held_.begin() + begin_[g + 1]);
  return table;
}

Copies SlotFlow::hosts() const {
  Copies copies;
  copies.begin.push_back(0);
  copies.rank.reserve(held_.size());
  for (const std::vector<int>& slots : hosts_) {
    for (int slot : slots) copies.rank.push_back(rank_of_slot_[slot]);
    copies.begin.push_back(static_cast<int32_t>(copies.rank.size()));
  }
  return copies;
}

void SlotFlow::Set(Kind kind, int index, int64_t value) {
  std::vector<int64_t>& values = kind == Kind::kFlow ? flow_ : kind == Kind::kSpare ? spare_ : left_;
  journal_.push_back({kind, index, values[index]});
  if (kind == Kind::kLeft) unrouted_ += value - left_[index];
  values[index] = value;
}

void SlotFlow::Host(int slot, int expert) {
  if (held_[slot] != kNoExpert) {
    std::vector<int>& slots = hosts_[held_[slot]];
    slots.erase(std::find(slots.begin(), slots.end(), slot));
    --copies_[held_[slot]];
  }
  held_[slot] = expert;
  if (expert == kNoExpert) return;
  ++copies_[expert];
  std::vector<int>& slots = hosts_[expert];
  // By rank, so that an undone change leaves no trace.
  slots.insert(std::lower_bound(slots.begin(), slots.end(), slot), slot);
}

void SlotFlow::Undo(size_t mark) {
  for (; journal_.size() > mark; journal_.pop_back()) {
    const auto [kind, index, before] = journal_.back();
    if (kind == Kind::kHeld) {
      Host(index, static_cast<int>(before));
    } else if (kind == Kind::kLeft) {
      unrouted_ += before - left_[index];
      left_[index] = before;
    } else {
      (kind == Kind::kFlow ? flow_ : spare_)[index] = before;
    }
  }
}

void SlotFlow::Carry(int slot, int64_t amount) {
  if (amount == 0) return;
  const int g = rank_of_slot_[slot], e = held_[slot];
  Set(Kind::kFlow, slot, flow_[slot] + amount);
  Set(Kind::kSpare, g, spare_[g] - amount);
  Set(Kind::kLeft, e, left_[e] - amount);
}

void SlotFlow::Write(int rank, int index, int expert) {
  const int slot = begin_[rank] + index;
  const int before = held_[slot];
  if (before != kNoExpert) Carry(slot, -flow_[slot]);
  journal_.push_back({Kind::kHeld, slot, before});
  Host(slot, expert);
  if (expert != kNoExpert) RouteDirectly(expert);
  // Every new path of the others leads through this rank.
  while (AugmentTo(rank)) {
  }
  if (before == kNoExpert) return;
  RouteDirectly(before);
  while (left_[before] > 0 && AugmentFrom(before)) {
  }
}

void SlotFlow::RouteDirectly(int expert) {
  for (int slot : hosts_[expert]) {
    Carry(slot, std::max<int64_t>(0, std::min(left_[expert], spare_[rank_of_slot_[slot]])));
  }
}

void SlotFlow::RouteAll() {
  // Straight into spare room first: experts with one place, then the others.
  for (const bool single : {true, false}) {
    for (size_t e = 0; e < left_.size(); ++e) {
      if ((hosts_[e].size() == 1) == single) RouteDirectly(static_cast<int>(e));
    }
  }
  // Experts that a search in vain has seen reach full ranks alone, and no later path gets out of those.
  std::fill(stuck_.begin(), stuck_.end(), 0);
  for (size_t e = 0; e < left_.size(); ++e) {
    while (left_[e] > 0 && !stuck_[e]) {
      if (AugmentFrom(static_cast<int>(e))) continue;
      for (size_t f = 0; f < seen_.size(); ++f) stuck_[f] |= seen_[f] == search_;
    }
  }
  std::fill(stuck_.begin(), stuck_.end(), 0);
}

// Breadth first over ranks, from the hosts of `expert`, or from `rank` where there is none: from a full rank
// to the other hosts of the experts that it carries load of. The first rank with room, or -1.
int SlotFlow::Search(int expert, int rank) {
  ++search_;
  queue_.clear();
  const auto visit = [&](int e, int via) {
    seen_[e] = search_;
    for (int slot : hosts_[e]) {
      const int g = rank_of_slot_[slot];
      if (step_[g].search == search_) continue;
      step_[g] = {search_, slot, via};
      queue_.push_back(g);
      if (spare_[g] > 0) return g;
    }
    return -1;
  };
  int end = -1;
  if (expert != kNoExpert) {
    end = visit(expert, -1);
  } else {
    step_[rank] = {search_, -1, -1};
    queue_.push_back(rank);
  }
  for (size_t next = 0; end < 0 && next < queue_.size(); ++next) {
    const int g = queue_[next];
    for (int slot = begin_[g]; slot < begin_[g + 1] && end < 0; ++slot) {
      const int e = held_[slot];
      if (e == kNoExpert || flow_[slot] == 0 || seen_[e] == search_ || stuck_[e]) continue;
      end = visit(e, slot);
    }
  }
  return end;
}

// Moves load along the path of the last search; the least of `amount` and what the path bears.
int64_t SlotFlow::Shift(int end, int64_t amount) {
  amount = std::min(amount, spare_[end]);
  for (int g = end; step_[g].via >= 0; g = rank_of_slot_[step_[g].via])
    amount = std::min(amount, flow_[step_[g].via]);
  for (int g = end; step_[g].slot >= 0;) {
    Set(Kind::kFlow, step_[g].slot, flow_[step_[g].slot] + amount);
    const int via = step_[g].via;
    if (via < 0) break;
    Set(Kind::kFlow, via, flow_[via] - amount);
    g = rank_of_slot_[via];
  }
  Set(Kind::kSpare, end, spare_[end] - amount);
  return amount;
}

bool SlotFlow::AugmentFrom(int expert) {
  const int end = Search(expert, -1);
  if (end < 0) return false;
  const int64_t amount = Shift(end, left_[expert]);
  Set(Kind::kLeft, expert, left_[expert] - amount);
  return true;
}

int64_t SlotFlow::MakeRoom(int rank, int64_t amount) {
  const int end = Search(kNoExpert, rank);
  if (end < 0) return 0;
  amount = Shift(end, amount);
  Set(Kind::kSpare, rank, spare_[rank] + amount);
  return amount;
}

// Backwards from a rank: its experts could carry more there and less elsewhere, which makes room there, until
// one is unrouted.
bool SlotFlow::AugmentTo(int rank) {
  ++search_;
  queue_.assign(1, rank);
  step_[rank] = {search_, -1, -1};
  int found = -1, found_rank = -1;  // an unrouted expert and the rank that takes it
  for (size_t next = 0; found < 0 && next < queue_.size(); ++next) {
    const int g = queue_[next];
    for (int slot = begin_[g]; slot < begin_[g + 1] && found < 0; ++slot) {
      const int e = held_[slot];
      if (e == kNoExpert || seen_[e] == search_) continue;
      seen_[e] = search_;
      if (left_[e] > 0) {
        found = slot;
        found_rank = g;
        break;
      }
      for (int other : hosts_[e]) {
        const int h = rank_of_slot_[other];
        if (flow_[other] == 0 || step_[h].search == search_) continue;
        // Load goes from `other` to `slot`.
        step_[h] = {search_, other, slot};
        queue_.push_back(h);
      }
    }
  }
  if (found < 0) return false;
  int64_t amount = left_[held_[found]];
  for (int g = found_rank; step_[g].slot >= 0; g = rank_of_slot_[step_[g].via])
    amount = std::min(amount, flow_[step_[g].slot]);
  std::vector<std::pair<int, int>> path;  // slots that lose and gain
  for (int g = found_rank; step_[g].slot >= 0; g = rank_of_slot_[step_[g].via])
    path.push_back({step_[g].slot, step_[g].via});
  if (spare_[rank] == 0 && MakeRoom(rank, amount) == 0) return false;
  // Making room may have moved load of this very path.
  amount = std::min(amount, spare_[rank]);
  for (const auto& [loses, gains] : path) amount = std::min(amount, flow_[loses]);
  if (amount == 0) return true;
  const int e = held_[found];
  Set(Kind::kFlow, found, flow_[found] + amount);
  Set(Kind::kLeft, e, left_[e] - amount);
  for (const auto& [loses, gains] : path) {
    Set(Kind::kFlow, loses, flow_[loses] - amount);
    Set(Kind::kFlow, gains, flow_[gains] + amount);
  }
  Set(Kind::kSpare, rank, spare_[rank] - amount);
  return true;
}

}  // namespace ballast
