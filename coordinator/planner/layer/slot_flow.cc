#include "coordinator/planner/layer/slot_flow.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace ballast {
namespace {

// Slots that an expert may get before its row of hosts has to move.
constexpr int kRoomForMore = 2;

}  // namespace

SlotFlow::SlotFlow(const LayerTask& task, const SlotTable& table, double bound)
    : task_(&task),
      total_(task.total_load()),
      ranks_(table.size() + 1),
      experts_(task.load.size()),
      capacity_(table.size(), 0) {
  one_speed_ = std::all_of(task.speeds.begin(), task.speeds.end(),
                           [&](uint32_t speed) { return speed == task.speeds.front(); });
  size_t places = 0;
  for (const std::vector<int>& row : table) places += row.size();
  slots_.reserve(places);
  for (int g = 0; g < ranks(); ++g) {
    ranks_[g].begin = static_cast<int32_t>(slots_.size());
    for (int e : table[g]) {
      slots_.push_back({.held = e, .rank = g});
      if (e != kNoExpert) ++experts_[e].copies;
    }
  }
  ranks_.back().begin = static_cast<int32_t>(slots_.size());
  int32_t end = 0;
  for (int e = 0; e < experts(); ++e) {
    OfExpert& of = experts_[e];
    of.left = task.load[e];
    of.first = end;
    of.room = of.copies + kRoomForMore;
    of.copies = 0;
    end += of.room;
  }
  hosts_.resize(static_cast<size_t>(end));
  for (size_t slot = 0; slot < slots_.size(); ++slot) {
    if (slots_[slot].held == kNoExpert) continue;
    OfExpert& of = experts_[slots_[slot].held];
    hosts_[of.first + of.copies++] = static_cast<int>(slot);
  }
  queue_.resize(table.size());
  visited_.resize(experts_.size());
  unrouted_ = total_;
  Raise(bound);
}

void SlotFlow::Raise(double bound) {
  const double total = static_cast<double>(total_);
  for (int g = 0; g < ranks(); ++g) {
    const auto capacity = static_cast<int64_t>(std::min(std::floor(bound * task_->speeds[g]), total));
    BALLAST_CHECK(capacity >= capacity_[g]) << capacity << " after " << capacity_[g];
    ranks_[g].spare += capacity - capacity_[g];
    capacity_[g] = capacity;
  }
  RouteAll();
}

std::vector<SlotFlow::Place> SlotFlow::written() const {
  std::vector<Place> places;
  for (const Change& change : journal_) {
    if (change.kind != Kind::kHeld) continue;
    const int rank = slots_[change.index].rank;
    places.push_back({rank, change.index - ranks_[rank].begin});
  }
  return places;
}

SlotTable SlotFlow::table() const {
  SlotTable table(capacity_.size());
  for (const OfSlot& slot : slots_) table[slot.rank].push_back(slot.held);
  return table;
}

Copies SlotFlow::hosts() const {
  Copies copies;
  copies.begin.reserve(experts_.size() + 1);
  copies.begin.push_back(0);
  copies.rank.reserve(slots_.size());
  for (int e = 0; e < experts(); ++e) {
    ForHosts(e, [&](int rank) { copies.rank.push_back(rank); });
    copies.begin.push_back(static_cast<int32_t>(copies.rank.size()));
  }
  return copies;
}

void SlotFlow::SetFlow(int slot, int64_t value) {
  if (journaling_) journal_.push_back({Kind::kFlow, slot, slots_[slot].flow});
  slots_[slot].flow = value;
}

void SlotFlow::SetSpare(int rank, int64_t value) {
  if (journaling_) journal_.push_back({Kind::kSpare, rank, ranks_[rank].spare});
  ranks_[rank].spare = value;
}

void SlotFlow::SetLeft(int expert, int64_t value) {
  int64_t& left = experts_[expert].left;
  if (journaling_) journal_.push_back({Kind::kLeft, expert, left});
  unrouted_ += value - left;
  left = value;
}

void SlotFlow::Host(int slot, int expert) {
  OfSlot& of_slot = slots_[slot];
  if (of_slot.held != kNoExpert) {
    OfExpert& of = experts_[of_slot.held];
    int* const first = hosts_.data() + of.first;
    int* const last = first + of.copies--;
    std::copy(std::find(first, last, slot) + 1, last, std::find(first, last, slot));
  }
  of_slot.held = expert;
  if (expert == kNoExpert) return;
  OfExpert& of = experts_[expert];
  if (of.copies == of.room) {
    const int32_t first = static_cast<int32_t>(hosts_.size());
    of.room = 2 * of.copies + kRoomForMore;
    hosts_.resize(hosts_.size() + static_cast<size_t>(of.room));
    std::copy_n(hosts_.begin() + of.first, of.copies, hosts_.begin() + first);
    of.first = first;
  }
  // By rank, so that an undone change leaves no trace.
  int* const first = hosts_.data() + of.first;
  int* const last = first + of.copies++;
  int* const at = std::lower_bound(first, last, slot);
  std::copy_backward(at, last, last + 1);
  *at = slot;
}

void SlotFlow::Apply(const Change& change) {
  const int64_t value = change.before;
  switch (change.kind) {
    case Kind::kFlow:
      slots_[change.index].flow = value;
      break;
    case Kind::kSpare:
      ranks_[change.index].spare = value;
      break;
    case Kind::kLeft:
      unrouted_ += value - experts_[change.index].left;
      experts_[change.index].left = value;
      break;
    case Kind::kHeld:
      Host(change.index, static_cast<int>(value));
      break;
  }
}

void SlotFlow::Undo(size_t mark, std::vector<Change>* undone) {
  if (undone != nullptr) undone->clear();
  for (; journal_.size() > mark; journal_.pop_back()) {
    const Change change = journal_.back();
    if (undone != nullptr) undone->push_back({change.kind, change.index, Figure(change)});
    Apply(change);
  }
}

void SlotFlow::Redo(const std::vector<Change>& undone) {
  for (auto change = undone.rbegin(); change != undone.rend(); ++change) {
    journal_.push_back({change->kind, change->index, Figure(*change)});
    Apply(*change);
  }
}

int64_t SlotFlow::Figure(const Change& change) const {
  switch (change.kind) {
    case Kind::kFlow:
      return slots_[change.index].flow;
    case Kind::kSpare:
      return ranks_[change.index].spare;
    case Kind::kLeft:
      return experts_[change.index].left;
    case Kind::kHeld:
      break;
  }
  return slots_[change.index].held;
}

void SlotFlow::Carry(int slot, int64_t amount) {
  if (amount == 0) return;
  const OfSlot of = slots_[slot];
  SetFlow(slot, of.flow + amount);
  SetSpare(of.rank, ranks_[of.rank].spare - amount);
  SetLeft(of.held, experts_[of.held].left - amount);
}

void SlotFlow::Write(int rank, int index, int expert) {
  const int slot = ranks_[rank].begin + index;
  const int before = slots_[slot].held;
  if (before != kNoExpert) Carry(slot, -slots_[slot].flow);
  if (journaling_) journal_.push_back({Kind::kHeld, slot, before});
  Host(slot, expert);
  if (expert != kNoExpert) RouteDirectly(expert);
  // Every new path of the others leads through this rank.
  bool before_took_part = false;
  while (unrouted_ > 0) {
    const int moved = AugmentTo(rank);
    if (moved == kNoExpert) break;
    before_took_part |= moved == before;
  }
  if (before == kNoExpert) return;
  RouteDirectly(before);
  AugmentFrom(before);
  // Where that one came to a rank which others can reach, so do they now to its other hosts.
  if (before_took_part) AugmentAll();
}

void SlotFlow::RouteDirectly(int expert) {
  const OfExpert& of = experts_[expert];
  for (int i = 0; i < of.copies && of.left > 0; ++i) {
    const int slot = hosts_[of.first + i];
    Carry(slot, std::min(of.left, ranks_[slots_[slot].rank].spare));
  }
}

void SlotFlow::RouteAll() {
  journaling_ = false;
  journal_.clear();
  // Straight into spare room first: experts with one place, then the others.
  for (const bool single : {true, false}) {
    for (int e = 0; e < experts(); ++e) {
      if ((experts_[e].copies == 1) == single) RouteDirectly(e);
    }
  }
  AugmentAll();
  journaling_ = true;
}

void SlotFlow::AugmentAll() {
  // Experts that a search in vain has seen reach full ranks alone, and no later path gets out of those.
  for (int e = 0; e < experts() && unrouted_ > 0; ++e) {
    if (experts_[e].left == 0 || experts_[e].seen == kStuck || AugmentFrom(e)) continue;
    StickVisited();
  }
  for (OfExpert& of : experts_) {
    if (of.seen == kStuck) of.seen = 0;
  }
}

}  // namespace ballast
