// SlotFlow's searches: augmenting paths, and the cuts where there are none.
#include <algorithm>

#include "base/check.h"
#include "coordinator/planner/layer/slot_flow.h"

namespace ballast {

// Breadth first over ranks, from the hosts of `expert`: from a full rank to the other hosts of the experts
// that it carries load of. The first rank with room, or -1.
int SlotFlow::SearchFrom(int expert) {
  ++search_;
  OfExpert& of = experts_[expert];
  of.seen = search_;
  visited_[0] = expert;
  cursor_ = {.seen = 1, .host = of.first, .host_end = of.first + of.copies};
  return SearchOn();
}

// The same from where the search stands.
int SlotFlow::SearchOn() {
  // Copies of what the loop needs: writes through pointers would make it read members again and again.
  Cursor at = cursor_;
  const uint32_t search = search_;
  const OfSlot* const slots = slots_.data();
  const int* const hosts = hosts_.data();
  OfRank* const ranks = ranks_.data();
  OfExpert* const experts = experts_.data();
  int* const queue = queue_.data();
  while (true) {
    while (at.host < at.host_end) {
      const int slot = hosts[at.host++];
      const int g = slots[slot].rank;
      OfRank& of = ranks[g];
      if (of.search == search) continue;
      of.search = search;
      of.slot = slot;
      of.via = at.via;
      queue[at.queued++] = g;
      if (of.spare <= 0) continue;
      cursor_ = at;
      return g;
    }
    int expert = kNoExpert;
    while (expert == kNoExpert) {
      if (at.slot == at.slot_end) {
        if (at.next == at.queued) {
          cursor_ = at;
          return -1;
        }
        const int g = queue[at.next++];
        at.slot = ranks[g].begin;
        at.slot_end = ranks[g + 1].begin;
        continue;
      }
      const OfSlot& of = slots[at.slot++];
      // What is stuck has a number beyond all searches'.
      if (of.flow > 0 && experts[of.held].seen < search) expert = of.held;
    }
    OfExpert& of = experts[expert];
    of.seen = search;
    visited_[at.seen++] = expert;
    at.via = at.slot - 1;
    at.host = of.first;
    at.host_end = of.first + of.copies;
  }
}

// What the last search saw is stuck.
void SlotFlow::StickVisited() {
  for (int i = 0; i < cursor_.seen; ++i) experts_[visited_[i]].seen = kStuck;
}

// Moves load along the path of the last search; the least of `amount` and what the path bears.
int64_t SlotFlow::Shift(int end, int64_t amount) {
  amount = std::min(amount, ranks_[end].spare);
  path_stands_ = true;
  for (int g = end; ranks_[g].via >= 0; g = slots_[ranks_[g].via].rank) {
    const int64_t bears = slots_[ranks_[g].via].flow;
    path_stands_ &= bears > amount;
    amount = std::min(amount, bears);
  }
  for (int g = end; ranks_[g].slot >= 0;) {
    SetFlow(ranks_[g].slot, slots_[ranks_[g].slot].flow + amount);
    const int via = ranks_[g].via;
    if (via < 0) break;
    SetFlow(via, slots_[via].flow - amount);
    g = slots_[via].rank;
  }
  SetSpare(end, ranks_[end].spare - amount);
  return amount;
}

// Until nothing of the expert is left, or no path: false.
bool SlotFlow::AugmentFrom(int expert) {
  const OfExpert& of = experts_[expert];
  path_stands_ = false;
  while (of.left > 0) {
    // While no slot of the path is empty, a search from the start would come by the same ranks to its end,
    // which is full now.
    const int end = path_stands_ ? SearchOn() : SearchFrom(expert);
    if (end < 0) return false;
    const int64_t amount = Shift(end, of.left);
    SetLeft(expert, of.left - amount);
  }
  return true;
}

int64_t SlotFlow::MakeRoom(int rank, int64_t amount) {
  ++search_;
  OfRank& of = ranks_[rank];
  of.search = search_;
  of.slot = of.via = -1;
  queue_[0] = rank;
  cursor_ = {.queued = 1};
  const int end = SearchOn();
  if (end < 0) return 0;
  amount = Shift(end, amount);
  SetSpare(rank, of.spare + amount);
  return amount;
}

// Backwards from a rank: its experts could carry more there and less elsewhere, which makes room there, until
// one is unrouted. That one, of which some was routed or may be next time; kNoExpert: there is no path.
int SlotFlow::AugmentTo(int rank) {
  ++search_;
  queue_[0] = rank;
  int queued = 1;
  ranks_[rank].search = search_;
  ranks_[rank].slot = ranks_[rank].via = -1;
  int found = -1, found_rank = -1;  // an unrouted expert and the rank that takes it
  for (int next = 0; found < 0 && next < queued; ++next) {
    const int g = queue_[next];
    const int end = ranks_[g + 1].begin;
    for (int slot = ranks_[g].begin; slot < end; ++slot) {
      const int e = slots_[slot].held;
      if (e == kNoExpert || experts_[e].seen == search_) continue;
      OfExpert& of = experts_[e];
      of.seen = search_;
      if (of.left > 0) {
        found = slot;
        found_rank = g;
        break;
      }
      for (int i = 0; i < of.copies; ++i) {
        const int other = hosts_[of.first + i];
        if (slots_[other].flow == 0) continue;
        const int h = slots_[other].rank;
        if (ranks_[h].search == search_) continue;
        // Load goes from `other` to `slot`.
        ranks_[h].search = search_;
        ranks_[h].slot = other;
        ranks_[h].via = slot;
        queue_[queued++] = h;
      }
    }
  }
  if (found < 0) return kNoExpert;
  const int e = slots_[found].held;
  int64_t amount = experts_[e].left;
  path_.clear();
  for (int g = found_rank; ranks_[g].slot >= 0; g = slots_[ranks_[g].via].rank) {
    amount = std::min(amount, slots_[ranks_[g].slot].flow);
    path_.push_back({ranks_[g].slot, ranks_[g].via});
  }
  if (ranks_[rank].spare == 0 && MakeRoom(rank, amount) == 0) return kNoExpert;
  // Making room may have moved load of this very path.
  amount = std::min(amount, ranks_[rank].spare);
  for (const auto& [loses, gains] : path_) amount = std::min(amount, slots_[loses].flow);
  if (amount == 0) return e;
  SetFlow(found, slots_[found].flow + amount);
  SetLeft(e, experts_[e].left - amount);
  for (const auto& [loses, gains] : path_) {
    SetFlow(loses, slots_[loses].flow - amount);
    SetFlow(gains, slots_[gains].flow + amount);
  }
  SetSpare(rank, ranks_[rank].spare - amount);
  return e;
}

int64_t SlotFlow::Wanting(int expert) {
  ++search_;
  int queued = 0;
  int64_t wanting = 0;
  const auto visit = [&](int e) {
    OfExpert& of = experts_[e];
    of.seen = search_;
    wanting += of.left;
    for (int i = 0; i < of.copies; ++i) {
      const OfSlot& slot = slots_[hosts_[of.first + i]];
      if (slot.flow == 0 || ranks_[slot.rank].search == search_) continue;
      ranks_[slot.rank].search = search_;
      queue_[queued++] = slot.rank;
    }
  };
  visit(expert);
  for (int next = 0; next < queued && wanting < unrouted_; ++next) {
    const int g = queue_[next];
    for (int slot = ranks_[g].begin; slot < ranks_[g + 1].begin; ++slot) {
      const int e = slots_[slot].held;
      if (e != kNoExpert && experts_[e].seen != search_) visit(e);
    }
  }
  return wanting;
}

// The largest bound that a minimum cut between what is unrouted and the spare room asks for: the experts and
// ranks that a search in vain sees have no other place.
LoadRatio SlotFlow::BoundOfCuts() {
  LoadRatio most;
  for (int e = 0; e < experts(); ++e) {
    // An expert inside another's cut has a cut inside that one: left for the next round, if there is one.
    if (experts_[e].left == 0 || experts_[e].seen == kStuck) continue;
    BALLAST_CHECK(SearchFrom(e) < 0) << "expert " << e << " can still be routed";
    int64_t tokens = 0;
    for (int i = 0; i < cursor_.seen; ++i) tokens += task_->load[visited_[i]];
    cut_.assign(queue_.begin(), queue_.begin() + cursor_.queued);
    const LoadRatio needed = LeastBound(tokens, cut_, task_->speeds, one_speed_);
    if (Less(most, needed)) most = needed;
    StickVisited();
  }
  for (OfExpert& of : experts_) {
    if (of.seen == kStuck) of.seen = 0;
  }
  return most;
}

double SlotFlow::RaiseUntilRouted(double enough) {
  double least = 0;
  while (unrouted_ > 0) {
    const LoadRatio bound = BoundOfCuts();
    least = static_cast<double>(bound.tokens) / bound.speed;
    if (least >= enough) break;
    for (int g = 0; g < ranks(); ++g) {
      const int64_t capacity = CapacityUnder(bound, task_->speeds[g], total_);
      // A bound in floating point may have been rounded up, and allowed a token that this one does not.
      if (capacity < capacity_[g]) return PlacedBound(*task_, hosts());
      ranks_[g].spare += capacity - capacity_[g];
      capacity_[g] = capacity;
    }
    RouteAll();
  }
  return least;
}

}  // namespace ballast
