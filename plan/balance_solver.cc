#include "plan/balance_solver.h"

#include <algorithm>

#include "base/check.h"
#include "plan/apportion.h"

namespace ballast {

// Experts with several hosts alone; the others' tokens are fixed.
void BalanceSolver::Prepare() {
  const Copies& all = *all_;
  const std::vector<int64_t>& tokens = *tokens_;
  const std::vector<uint32_t>& speeds = *speeds_;
  BALLAST_CHECK(speeds.size() <= kRanksMax) << speeds.size() << " ranks";
  one_speed_ =
      std::all_of(speeds.begin(), speeds.end(), [&](uint32_t speed) { return speed == speeds.front(); });
  total_ = 0;
  fixed_.assign(speeds.size(), 0);
  copies_.clear();
  splits_.clear();
  for (size_t e = 0; e < tokens.size(); ++e) {
    total_ += tokens[e];
    BALLAST_CHECK(total_ <= kTokensMax) << "tokens overflow";
    if (tokens[e] == 0) continue;
    BALLAST_CHECK(tokens[e] > 0 && all.of(e) > 0) << "expert " << e << " has " << tokens[e] << " tokens";
    if (all.of(e) == 1) {
      fixed_[all.rank[all.begin[e]]] += tokens[e];
      continue;
    }
    const int32_t k = static_cast<int32_t>(splits_.size());
    splits_.push_back({.tokens = tokens[e],
                       .expert = static_cast<int32_t>(e),
                       .first = static_cast<int32_t>(copies_.size())});
    for (int c = all.begin[e]; c < all.begin[e + 1]; ++c)
      copies_.push_back({.rank = all.rank[c], .split = k});
  }
  splits_.push_back({.first = static_cast<int32_t>(copies_.size())});
  search_ = 0;
  queue_.resize(speeds.size());
  seen_.resize(splits_.size());
  ListResidents();
  if (sources_ != nullptr && splits() > 0) LookUpSources();
}

void BalanceSolver::ListResidents() {
  ranks_.assign(speeds_->size() + 1, OfRank());
  // Counts, then where each rank's begin, then where they end, which is where the next rank's begin.
  for (const Copy& copy : copies_) ++ranks_[copy.rank].begin;
  int32_t sum = 0;
  for (OfRank& rank : ranks_) {
    sum += rank.begin;
    rank.begin = sum - rank.begin;
  }
  residents_.resize(copies_.size());
  for (size_t c = 0; c < copies_.size(); ++c)
    residents_[ranks_[copies_[c].rank].begin++] = static_cast<int>(c);
  for (size_t g = speeds_->size(); g > 0; --g) ranks_[g].begin = ranks_[g - 1].begin;
  ranks_[0].begin = 0;
}

void BalanceSolver::LookUpSources() {
  const Topology& topology = sources_->topology;
  own_.resize(copies_.size());
  node_.resize(copies_.size());
  for (size_t c = 0; c < copies_.size(); ++c) {
    const Copy& copy = copies_[c];
    node_[c] = topology.node_of_rank[copy.rank].value();
    own_[c] = sources_->counts[copy.rank][splits_[copy.split].expert];
  }
  if (sources_->of_node != nullptr) return;
  const size_t experts = tokens_->size();
  node_tokens_.assign(static_cast<size_t>(topology.nodes()) * experts, 0);
  for (size_t g = 0; g < speeds_->size(); ++g) {
    int64_t* const sums = node_tokens_.data() + topology.node_of_rank[g].index() * experts;
    for (int k = 0; k < splits(); ++k) sums[splits_[k].expert] += sources_->counts[g][splits_[k].expert];
  }
}

void BalanceSolver::Solve(const std::vector<int64_t>& tokens, const Copies& copies,
                          const std::vector<uint32_t>& speeds, const TokenSources* sources,
                          std::vector<int64_t>& quotas) {
  tokens_ = &tokens;
  all_ = &copies;
  speeds_ = &speeds;
  sources_ = sources;
  Prepare();
  if (splits() > 0) {
    const LoadRatio bound = FirstBound();
    // Which flow is found must not depend on how the bound was: it is made anew under the last one.
    if (!Route(bound)) {
      const bool whole = Route(Raised(bound));
      BALLAST_CHECK(whole) << "a bound that had room for everything";
    }
  }
  quotas.assign(copies.rank.size(), 0);
  for (size_t e = 0; e < tokens.size(); ++e) {
    if (copies.of(e) == 1) quotas[copies.begin[e]] = tokens[e];
  }
  for (int k = 0; k < splits(); ++k) {
    int64_t* quota = quotas.data() + copies.begin[splits_[k].expert];
    for (int c = splits_[k].first; c < splits_[k + 1].first; ++c) *quota++ = copies_[c].flow;
  }
}

// Every bound that is seen without a flow: single hosts, each expert on its hosts, everything on all hosts.
LoadRatio BalanceSolver::FirstBound() {
  LoadRatio bound;
  for (int g = 0; g < ranks(); ++g) {
    if (Less(bound, {fixed_[g], (*speeds_)[g]})) bound = {fixed_[g], (*speeds_)[g]};
  }
  for (int k = 0; k < splits(); ++k) {
    const int first = splits_[k].first, last = splits_[k + 1].first;
    // Not above: no need to divide.
    if (one_speed_ && bound.tokens * (last - first) >= splits_[k].tokens) continue;
    cut_.clear();
    for (int c = first; c < last; ++c) cut_.push_back(copies_[c].rank);
    const LoadRatio alone = LeastBound(splits_[k].tokens, cut_, *speeds_, one_speed_);
    if (Less(bound, alone)) bound = alone;
  }
  cut_.clear();
  for (int g = 0; g < ranks(); ++g) {
    if (fixed_[g] > 0 || ranks_[g].begin < ranks_[g + 1].begin) cut_.push_back(g);
  }
  const LoadRatio together = LeastBound(total_, cut_, *speeds_, one_speed_);
  return Less(bound, together) ? together : bound;
}

// Routes as much as the bound allows; whether that is everything. What is not routed is in Split::left.
bool BalanceSolver::Route(const LoadRatio& bound) {
  for (Copy& copy : copies_) copy.flow = 0;
  for (int g = 0; g < ranks(); ++g) ranks_[g].spare = CapacityUnder(bound, (*speeds_)[g], total_) - fixed_[g];
  for (Split& split : splits_) split.left = split.tokens;
  if (sources_ != nullptr) {
    for (size_t c = 0; c < copies_.size(); ++c)
      Put(copies_[c], std::min(own_[c], ranks_[copies_[c].rank].spare));
    for (int k = 0; k < splits(); ++k) FillFromOwnNode(k);
  }
  for (int k = 0; k < splits(); ++k) {
    const int first = splits_[k].first, last = splits_[k + 1].first;
    Fill(splits_[k].left, [&](const auto& visit) {
      for (int c = first; c < last; ++c) visit(copies_[c]);
    });
  }
  return AugmentAll();
}

void BalanceSolver::Put(Copy& copy, int64_t amount) {
  copy.flow += amount;
  ranks_[copy.rank].spare -= amount;
  splits_[copy.split].left -= amount;
}

// What a node's hosts have not kept of the tokens that start on the node.
void BalanceSolver::FillFromOwnNode(int k) {
  const std::vector<int64_t>& of_node = sources_->of_node != nullptr ? *sources_->of_node : node_tokens_;
  const int begin = splits_[k].first, end = splits_[k + 1].first;
  for (int first = begin; first < end; ++first) {
    const int node = node_[first];
    if (std::find(node_.begin() + begin, node_.begin() + first, node) != node_.begin() + first) continue;
    chosen_.clear();
    int64_t open =
        of_node[static_cast<size_t>(node) * tokens_->size() + static_cast<size_t>(splits_[k].expert)];
    for (int c = first; c < end; ++c) {
      if (node_[c] != node) continue;
      open -= copies_[c].flow;
      chosen_.push_back(c);
    }
    if (chosen_.size() == 1) {
      Put(copies_[first], std::min(open, ranks_[copies_[first].rank].spare));
      continue;
    }
    Fill(open, [&](const auto& visit) {
      for (int c : chosen_) visit(copies_[c]);
    });
  }
}

// Gives up to `amount` to copies in proportion to what their ranks can still take. `each`(visit) calls visit
// with each of them, in order.
template <class Each>
void BalanceSolver::Fill(int64_t amount, const Each& each) {
  if (amount == 0) return;
  int64_t spare = 0;  // at most total_ for each rank, and kTokensMax * kRanksMax fits
  each([&](const Copy& copy) { spare += ranks_[copy.rank].spare; });
  amount = std::min(amount, spare);
  if (amount == 0) return;
  each([&](Copy& copy) {
    const int64_t own = ranks_[copy.rank].spare;
    if (amount == 0 || own == 0) return;
    const int64_t part = own == spare ? amount : ProportionalPart(amount, own, spare);
    Put(copy, part);
    amount -= part;
    spare -= own;
  });
}

// Along breadth-first paths over ranks, as much as is left. Whether that is everything.
bool BalanceSolver::AugmentAll() {
  bool whole = true;
  for (int k = 0; k < splits(); ++k) {
    // Experts that a search in vain has seen reach full ranks alone, and no later path gets out of those.
    if (splits_[k].left == 0) continue;
    if (splits_[k].seen != kStuck && Augment(splits_[k])) continue;
    whole = false;
    if (splits_[k].seen == kStuck) continue;
    StickSeen();
  }
  if (!whole) ForgetStuck();
  return whole;
}

// What the last search saw is stuck.
void BalanceSolver::StickSeen() {
  for (int i = 0; i < cursor_.seen; ++i) splits_[seen_[i]].seen = kStuck;
}

void BalanceSolver::ForgetStuck() {
  for (Split& split : splits_) {
    if (split.seen == kStuck) split.seen = 0;
  }
}

// Until nothing of the expert is left, or no path: false.
bool BalanceSolver::Augment(Split& split) {
  bool stands = false;
  while (split.left > 0) {
    // While no copy of the path before is empty, a search from the start would come by the same ranks to its
    // end, which is full now.
    const int end = stands ? SearchOn() : SearchFrom(static_cast<int>(&split - splits_.data()));
    if (end < 0) return false;
    stands = Shift(end, split);
  }
  return true;
}

// From a split expert to its hosts, from a full rank to the other hosts of its residents. Returns the first
// rank with room, or -1; then the ranks seen are full and closed under this step.
int BalanceSolver::SearchFrom(int k) {
  ++search_;
  seen_[0] = k;
  splits_[k].seen = search_;
  cursor_ = {.seen = 1, .copy = splits_[k].first, .copy_end = splits_[k + 1].first};
  return SearchOn();
}

// The same from where the search stands.
int BalanceSolver::SearchOn() {
  // Copies of what the loop needs: writes through pointers would make it read members again and again.
  Cursor at = cursor_;
  const uint32_t search = search_;
  const Copy* const copies = copies_.data();
  OfRank* const ranks = ranks_.data();
  Split* const splits = splits_.data();
  const int* const residents = residents_.data();
  int* const queue = queue_.data();
  while (true) {
    while (at.copy < at.copy_end) {
      const int c = at.copy++;
      const int g = copies[c].rank;
      OfRank& rank = ranks[g];
      if (rank.search == search) continue;
      rank.search = search;
      rank.copy = c;
      rank.via = at.via;
      queue[at.queued++] = g;
      if (rank.spare <= 0) continue;
      cursor_ = at;
      return g;
    }
    int k = -1;
    while (k < 0) {
      if (at.resident == at.resident_end) {
        if (at.next == at.queued) {
          cursor_ = at;
          return -1;
        }
        const int g = queue[at.next++];
        at.resident = ranks[g].begin;
        at.resident_end = ranks[g + 1].begin;
        continue;
      }
      at.via = residents[at.resident++];
      // What is stuck has a number beyond all searches'.
      if (copies[at.via].flow > 0 && splits[copies[at.via].split].seen < search) k = copies[at.via].split;
    }
    splits[k].seen = search;
    seen_[at.seen++] = k;
    at.copy = splits[k].first;
    at.copy_end = splits[k + 1].first;
  }
}

// Moves what is left along the path of the last search, as much as that bears. Whether the path leads on
// where its end was.
bool BalanceSolver::Shift(int end, Split& split) {
  int64_t amount = std::min(split.left, ranks_[end].spare);
  bool stands = true;
  for (int via = ranks_[end].via; via >= 0; via = ranks_[copies_[via].rank].via) {
    stands &= copies_[via].flow > amount;
    amount = std::min(amount, copies_[via].flow);
  }
  for (int g = end;;) {
    copies_[ranks_[g].copy].flow += amount;
    const int via = ranks_[g].via;
    if (via < 0) break;
    copies_[via].flow -= amount;
    g = copies_[via].rank;
  }
  ranks_[end].spare -= amount;
  split.left -= amount;
  return stands;
}

// The least bound that has room for everything, given a flow under one that has not.
LoadRatio BalanceSolver::Raised(LoadRatio bound) {
  do {
    const LoadRatio next = BoundOfCuts();
    BALLAST_CHECK(Less(bound, next)) << "a cut that is not short of room";
    for (int g = 0; g < ranks(); ++g)
      ranks_[g].spare +=
          CapacityUnder(next, (*speeds_)[g], total_) - CapacityUnder(bound, (*speeds_)[g], total_);
    bound = next;
  } while (!AugmentAll());
  return bound;
}

// The experts and ranks that a search in vain sees are a minimum cut: their tokens have no other place, which
// gives a bound. The largest of all.
LoadRatio BalanceSolver::BoundOfCuts() {
  LoadRatio most;
  for (int k = 0; k < splits(); ++k) {
    // An expert inside another's cut has a cut inside that one: left for the next round, if there is one.
    if (splits_[k].left == 0 || splits_[k].seen == kStuck) continue;
    BALLAST_CHECK(SearchFrom(k) < 0) << "expert " << splits_[k].expert << " can still be routed";
    int64_t tokens = 0;
    for (int i = 0; i < cursor_.seen; ++i) tokens += splits_[seen_[i]].tokens;
    cut_.assign(queue_.begin(), queue_.begin() + cursor_.queued);
    for (int g : cut_) tokens += fixed_[g];
    const LoadRatio needed = LeastBound(tokens, cut_, *speeds_, one_speed_);
    if (Less(most, needed)) most = needed;
    StickSeen();
  }
  ForgetStuck();
  return most;
}

}  // namespace ballast
