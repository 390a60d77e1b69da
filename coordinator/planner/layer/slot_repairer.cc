#include "coordinator/planner/layer/slot_repairer.h"

#include <algorithm>
#include <limits>

namespace ballast {
namespace {

// Ranks whose coldest expert is considered for moving away.
constexpr size_t kEvictionRanks = 8;
// Helpful writes whose flows are compared.
constexpr int kCompared = 4;
// Ranks that are put in order at once: a few more than are asked for their slots.
constexpr size_t kListed = 16;

}  // namespace

int SlotRepairer::Run(int writes_max, int64_t enough) {
  int writes = 0;
  while (writes < writes_max && flow_.unrouted() > enough) {
    const int used = WriteOne(writes_max - writes);
    if (used == 0) break;
    writes += used;
  }
  return writes;
}

// One improving change for the expert with most unrouted load that has one. Returns its writes, 0 = none.
int SlotRepairer::WriteOne(int writes_max) {
  std::vector<int> experts;
  for (int e = 0; e < task_.experts(); ++e) {
    if (flow_.left(e) > 0) experts.push_back(e);
  }
  std::stable_sort(experts.begin(), experts.end(),
                   [&](int a, int b) { return flow_.left(a) > flow_.left(b); });
  // What is tried in vain is undone, so this holds until the write.
  open_.clear();
  for (int g = 0; g < task_.ranks(); ++g) {
    if (flow_.spare(g) > 0) open_.push_back({flow_.spare(g), g, kNotAsked});
  }
  redundant_known_ = false;
  for (int e : experts) {
    if (TryOneWrite(e)) return 1;
    if (writes_max >= 2 && TryTwoWrites(e)) return 2;
  }
  return 0;
}

// Load that a slot gives up when it is overwritten; its expert has other copies. -1: it must stay.
int64_t SlotRepairer::Freed(int g, int i) const {
  const int held = flow_.held(g, i);
  if (held == kNoExpert) return 0;
  return flow_.copies(held) > 1 ? flow_.flow(g, i) : -1;
}

void SlotRepairer::MarkHosts(int e) {
  hosts_.assign(static_cast<size_t>(task_.ranks()), 0);
  flow_.ForHosts(e, [&](int rank) { hosts_[rank] = 1; });
}

// The slot of rank `g` that gains most for `e`; its gain is 0 when there is none.
SlotRepairer::Choice SlotRepairer::BestSlot(int g, int64_t wanted) const {
  const int64_t spare = flow_.spare(g);
  Choice best;
  for (int i = 0; i < flow_.slots(g); ++i) {
    const int64_t freed = Freed(g, i);
    if (freed < 0) continue;
    const int64_t gain = std::min(spare + freed, wanted) - freed;
    if (gain > best.gain) best = {gain, g, i};
  }
  return best;
}

// The first kListed ranks behind `last` that may gain for the expert at hand, in order. No gain is larger
// than the room or what is wanted; which it is turns out when a rank's turn has come.
void SlotRepairer::ListRanks(int64_t wanted, const Choice& last) {
  ranks_.clear();
  for (const Choice& open : open_) {
    if (hosts_[open.rank]) continue;
    const Choice choice{std::min(open.gain, wanted), open.rank, kNotAsked};
    if (!(last < choice)) continue;
    if (ranks_.size() == kListed) {
      if (!(choice < ranks_.back())) continue;
      ranks_.pop_back();
    }
    ranks_.insert(std::upper_bound(ranks_.begin(), ranks_.end(), choice), choice);
  }
  next_rank_ = 0;
}

// The most promising slot left for the expert at hand; its gain is 0 when there is none.
SlotRepairer::Choice SlotRepairer::NextChoice(int64_t wanted) {
  while (true) {
    if (next_rank_ == ranks_.size() && ranks_.size() == kListed) ListRanks(wanted, Choice(ranks_.back()));
    const auto first = std::min_element(asked_.begin(), asked_.end());
    if (next_rank_ < ranks_.size() && (first == asked_.end() || ranks_[next_rank_] < *first)) {
      const Choice asked = BestSlot(ranks_[next_rank_++].rank, wanted);
      if (asked.gain > 0) asked_.push_back(asked);
      continue;
    }
    if (first == asked_.end()) return Choice();
    const Choice choice = *first;
    asked_.erase(first);
    return choice;
  }
}

bool SlotRepairer::TryOneWrite(int e) {
  MarkHosts(e);
  const int64_t wanted = flow_.left(e), before = flow_.unrouted();
  asked_.clear();
  ListRanks(wanted, {std::numeric_limits<int64_t>::max(), -1, kNotAsked});
  Choice choice = NextChoice(wanted);
  if (choice.gain == 0) return false;
  // A gain ignores what can be routed around, so that it may be more; the first few are compared by a real
  // flow. What makes that unnecessary: nothing gains more than this.
  const int64_t most = flow_.Wanting(e);
  const size_t mark = flow_.Mark();
  int64_t best = 0;
  for (int compared = 0; compared < kCompared && choice.gain > 0; ++compared) {
    flow_.Write(choice.rank, choice.index, e);
    const int64_t gained = before - flow_.unrouted();
    if (gained == most) return true;
    flow_.Undo(mark, gained > best ? &best_change_ : nullptr);
    best = std::max(best, gained);
    choice = NextChoice(wanted);
  }
  flow_.Redo(best_change_);
  return true;
}

// The rank's coldest single copy makes room for `e` and goes to an empty or redundant slot elsewhere.
bool SlotRepairer::TryTwoWrites(int e) {
  struct Eviction {
    int64_t room = 0;
    int64_t load = 0;
    int rank = 0, index = 0;
  };
  std::vector<Eviction> evictions;
  MarkHosts(e);
  for (int g = 0; g < task_.ranks(); ++g) {
    if (hosts_[g]) continue;
    Eviction coldest{0, -1, g, 0};
    for (int i = 0; i < flow_.slots(g); ++i) {
      const int held = flow_.held(g, i);
      if (held == kNoExpert || flow_.copies(held) != 1) continue;
      const int64_t load = flow_.flow(g, i);
      if (coldest.load >= 0 && load >= coldest.load) continue;
      coldest = {flow_.spare(g) + load, load, g, i};
    }
    if (coldest.load >= 0) evictions.push_back(coldest);
  }
  const auto roomier = [](const Eviction& a, const Eviction& b) {
    return a.room - a.load != b.room - b.load ? a.room - a.load > b.room - b.load : a.rank < b.rank;
  };
  const size_t kept = std::min(evictions.size(), kEvictionRanks);
  std::partial_sort(evictions.begin(), evictions.begin() + static_cast<ptrdiff_t>(kept), evictions.end(),
                    roomier);
  evictions.resize(kept);
  if (evictions.empty()) return false;
  ListRedundant();

  struct Move {
    int64_t gain = 0;
    Eviction eviction;
    int to_rank = 0, to_index = 0;
  };
  std::vector<Move> moves;
  for (const Eviction& eviction : evictions) {
    const int64_t here = std::min(eviction.room, flow_.left(e)) - eviction.load;
    Move best;
    for (const Redundant& slot : redundant_) {
      if (slot.rank == eviction.rank) continue;
      const int64_t gain = here + std::min(slot.room, eviction.load) - slot.freed;
      if (gain > best.gain) best = {gain, eviction, slot.rank, slot.index};
    }
    if (best.gain > 0) moves.push_back(best);
  }
  const int64_t before = flow_.unrouted();
  const size_t mark = flow_.Mark();
  int64_t least = before;
  for (const Move& move : moves) {
    Apply(move.eviction.rank, move.eviction.index, e, move.to_rank, move.to_index);
    const int64_t unrouted = flow_.unrouted();
    flow_.Undo(mark, unrouted < least ? &best_change_ : nullptr);
    least = std::min(least, unrouted);
  }
  if (least == before) return false;
  flow_.Redo(best_change_);
  return true;
}

// Slots that may be overwritten: empty ones and those whose expert has other copies.
void SlotRepairer::ListRedundant() {
  if (redundant_known_) return;
  redundant_known_ = true;
  redundant_.clear();
  for (int g = 0; g < task_.ranks(); ++g) {
    for (int i = 0; i < flow_.slots(g); ++i) {
      const int64_t freed = Freed(g, i);
      if (freed >= 0) redundant_.push_back({flow_.spare(g) + freed, freed, g, i});
    }
  }
}

// `e` into the first slot, what that held into the second.
void SlotRepairer::Apply(int rank, int index, int e, int to_rank, int to_index) {
  const int evicted = flow_.held(rank, index);
  flow_.Write(rank, index, e);
  flow_.Write(to_rank, to_index, evicted);
}

}  // namespace ballast
