#include "plan/balance_solver.h"

#include <algorithm>

#include "base/check.h"
#include "plan/apportion.h"

namespace ballast {

// Experts with several hosts alone; the others' tokens are fixed.
void BalanceSolver::Prepare() {
  const Copies& all = *all_;
  const std::vector<int64_t>& tokens = *tokens_;
  const size_t ranks = speeds_->size();
  BALLAST_CHECK(ranks <= kRanksMax) << ranks << " ranks";
  one_speed_ = std::all_of(speeds_->begin(), speeds_->end(),
                           [this](uint32_t speed) { return speed == speeds_->front(); });
  total_ = 0;
  fixed_.assign(ranks, 0);
  copies_.clear();
  split_.clear();
  first_.assign(1, 0);
  copies_.reserve(all.rank.size());
  for (size_t e = 0; e < tokens.size(); ++e) {
    total_ += tokens[e];
    BALLAST_CHECK(total_ <= kTokensMax) << "tokens overflow";
    if (tokens[e] == 0) continue;
    BALLAST_CHECK(tokens[e] > 0 && all.of(e) > 0) << "expert " << e << " has " << tokens[e] << " tokens";
    if (all.of(e) == 1) {
      fixed_[all.rank[all.begin[e]]] += tokens[e];
      continue;
    }
    for (int c = all.begin[e]; c < all.begin[e + 1]; ++c)
      copies_.push_back({.split = splits(), .rank = all.rank[c]});
    split_.push_back(static_cast<int>(e));
    first_.push_back(static_cast<int>(copies_.size()));
  }
  flow_.resize(copies_.size());
  spare_.resize(ranks);
  left_.resize(split_.size());
  stuck_.assign(split_.size(), 0);
  search_ = 0;
  entered_.assign(ranks, Step());
  seen_split_.assign(split_.size(), 0);
  ListResidents();
  if (sources_ != nullptr && !split_.empty()) LookUpSources();
}

void BalanceSolver::ListResidents() {
  const size_t ranks = speeds_->size();
  resident_begin_.assign(ranks + 1, 0);
  for (const Copy& copy : copies_) ++resident_begin_[copy.rank + 1];
  for (size_t g = 0; g < ranks; ++g) resident_begin_[g + 1] += resident_begin_[g];
  residents_.resize(copies_.size());
  next_ = resident_begin_;
  for (size_t c = 0; c < copies_.size(); ++c) residents_[next_[copies_[c].rank]++] = static_cast<int>(c);
}

void BalanceSolver::LookUpSources() {
  const Topology& topology = sources_->topology;
  for (Copy& copy : copies_) {
    copy.node = topology.node_of_rank[copy.rank].value();
    copy.own = sources_->counts[copy.rank][split_[copy.split]];
  }
  if (sources_->of_node != nullptr) return;
  const size_t experts = tokens_->size();
  node_tokens_.assign(static_cast<size_t>(topology.nodes()) * experts, 0);
  for (size_t g = 0; g < speeds_->size(); ++g) {
    int64_t* const sums = node_tokens_.data() + topology.node_of_rank[g].index() * experts;
    for (int expert : split_) sums[expert] += sources_->counts[g][expert];
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
  if (!split_.empty()) {
    LoadRatio bound = FirstBound();
    while (true) {
      Route(bound);
      LoadRatio next = bound;
      // An expert inside another's cut has a cut inside that one: left for the next round, if there is one.
      std::fill(stuck_.begin(), stuck_.end(), 0);
      for (int k = 0; k < splits(); ++k) {
        if (left_[k] == 0 || stuck_[k]) continue;
        const LoadRatio needed = BoundOfCut(k);
        if (Less(next, needed)) next = needed;
        MarkSeen();
      }
      std::fill(stuck_.begin(), stuck_.end(), 0);
      if (!Less(bound, next)) break;
      bound = next;
    }
  }
  quotas.assign(copies.rank.size(), 0);
  for (size_t e = 0; e < tokens.size(); ++e) {
    if (copies.of(e) == 1) quotas[copies.begin[e]] = tokens[e];
  }
  for (int k = 0; k < splits(); ++k)
    std::copy(flow_.begin() + first_[k], flow_.begin() + first_[k + 1],
              quotas.begin() + copies.begin[split_[k]]);
}

// Every bound that is seen without a flow: single hosts, each expert on its hosts, everything on all hosts.
LoadRatio BalanceSolver::FirstBound() {
  LoadRatio bound;
  for (size_t g = 0; g < speeds_->size(); ++g) {
    if (Less(bound, {fixed_[g], (*speeds_)[g]})) bound = {fixed_[g], (*speeds_)[g]};
  }
  for (int k = 0; k < splits(); ++k) {
    ranks_.clear();
    for (int c = first_[k]; c < first_[k + 1]; ++c) ranks_.push_back(copies_[c].rank);
    const LoadRatio alone = LeastBound((*tokens_)[split_[k]], ranks_, *speeds_, one_speed_);
    if (Less(bound, alone)) bound = alone;
  }
  ranks_.clear();
  for (size_t g = 0; g < speeds_->size(); ++g) {
    if (fixed_[g] > 0 || resident_begin_[g] < resident_begin_[g + 1]) ranks_.push_back(static_cast<int>(g));
  }
  const LoadRatio together = LeastBound(total_, ranks_, *speeds_, one_speed_);
  return Less(bound, together) ? together : bound;
}

// Routes as much as the bound allows into flow_; what is not routed is in left_.
void BalanceSolver::Route(const LoadRatio& bound) {
  std::fill(flow_.begin(), flow_.end(), 0);
  for (size_t g = 0; g < speeds_->size(); ++g)
    spare_[g] = CapacityUnder(bound, (*speeds_)[g], total_) - fixed_[g];
  for (int k = 0; k < splits(); ++k) left_[k] = (*tokens_)[split_[k]];
  if (sources_ != nullptr) {
    for (size_t c = 0; c < copies_.size(); ++c)
      Put(static_cast<int>(c), std::min(copies_[c].own, spare_[copies_[c].rank]));
    for (int k = 0; k < splits(); ++k) FillFromOwnNode(k);
  }
  for (int k = 0; k < splits(); ++k) {
    if (left_[k] == 0) continue;
    chosen_.clear();
    for (int c = first_[k]; c < first_[k + 1]; ++c) chosen_.push_back(c);
    FillChosen(left_[k]);
  }
  // Experts that a search in vain has seen reach full ranks alone, and no later path gets out of those.
  for (int k = 0; k < splits(); ++k) {
    while (left_[k] > 0 && !stuck_[k] && Augment(k)) {
    }
  }
  std::fill(stuck_.begin(), stuck_.end(), 0);
}

void BalanceSolver::Put(int copy, int64_t amount) {
  flow_[copy] += amount;
  spare_[copies_[copy].rank] -= amount;
  left_[copies_[copy].split] -= amount;
}

// What a node's hosts have not kept of the tokens that start on the node.
void BalanceSolver::FillFromOwnNode(int k) {
  const std::vector<int64_t>& of_node = sources_->of_node != nullptr ? *sources_->of_node : node_tokens_;
  for (int first = first_[k]; first < first_[k + 1]; ++first) {
    const int node = copies_[first].node;
    chosen_.clear();
    int64_t open = of_node[static_cast<size_t>(node) * tokens_->size() + static_cast<size_t>(split_[k])];
    bool seen = false;
    for (int c = first_[k]; c < first_[k + 1]; ++c) {
      if (copies_[c].node != node) continue;
      seen |= c < first;
      open -= flow_[c];
      chosen_.push_back(c);
    }
    if (!seen) FillChosen(open);
  }
}

// Gives up to `amount` to the chosen copies in proportion to what their ranks can still take.
void BalanceSolver::FillChosen(int64_t amount) {
  if (amount == 0) return;
  int64_t spare = 0;  // at most total_ for each rank, and kTokensMax * kRanksMax fits
  for (int c : chosen_) spare += spare_[copies_[c].rank];
  amount = std::min(amount, spare);
  for (int c : chosen_) {
    if (amount == 0) return;
    const int64_t own = spare_[copies_[c].rank];
    const int64_t part = own == 0 ? 0 : own == spare ? amount : ProportionalPart(amount, own, spare);
    Put(c, part);
    amount -= part;
    spare -= own;
  }
}

// Breadth-first search over ranks: from a split expert to its hosts, from a full rank to the other hosts of
// its residents. Returns the first rank with room, or -1; then the ranks seen are full and closed under
// this step.
int BalanceSolver::Search(int expert) {
  ++search_;
  queue_.clear();
  int found = Visit(expert, -1);
  for (size_t head = 0; found < 0 && head < queue_.size(); ++head) {
    const int g = queue_[head];
    for (int i = resident_begin_[g]; i < resident_begin_[g + 1] && found < 0; ++i) {
      const int c = residents_[i];
      const int k = copies_[c].split;
      if (seen_split_[k] != search_ && !stuck_[k] && flow_[c] > 0) found = Visit(k, c);
    }
  }
  return found;
}

int BalanceSolver::Visit(int k, int via) {
  seen_split_[k] = search_;
  for (int c = first_[k]; c < first_[k + 1]; ++c) {
    const int g = copies_[c].rank;
    if (entered_[g].search == search_) continue;
    entered_[g] = {.search = search_, .copy = c, .via = via};
    queue_.push_back(g);
    if (spare_[g] > 0) return g;
  }
  return -1;
}

// What the last search saw counts as stuck.
void BalanceSolver::MarkSeen() {
  for (size_t j = 0; j < stuck_.size(); ++j) stuck_[j] |= seen_split_[j] == search_;
}

// Moves tokens along one path from split expert `k` to a rank with room. False when there is none.
bool BalanceSolver::Augment(int k) {
  const int end = Search(k);
  if (end < 0) {
    MarkSeen();
    return false;
  }
  int64_t amount = std::min(left_[k], spare_[end]);
  for (int via = entered_[end].via; via >= 0; via = entered_[copies_[via].rank].via)
    amount = std::min(amount, flow_[via]);
  for (int g = end;;) {
    flow_[entered_[g].copy] += amount;
    const int via = entered_[g].via;
    if (via < 0) break;
    flow_[via] -= amount;
    g = copies_[via].rank;
  }
  spare_[end] -= amount;
  left_[k] -= amount;
  return true;
}

// Split expert `k` cannot be routed: the experts and ranks that a search from it sees are a minimum cut.
// Their tokens have no other place, which gives the next bound.
LoadRatio BalanceSolver::BoundOfCut(int k) {
  BALLAST_CHECK(Search(k) < 0) << "expert " << split_[k] << " can still be routed";
  int64_t tokens = 0;
  for (int j = 0; j < splits(); ++j) tokens += seen_split_[j] == search_ ? (*tokens_)[split_[j]] : 0;
  ranks_.clear();
  for (size_t g = 0; g < speeds_->size(); ++g) {
    if (entered_[g].search != search_) continue;
    ranks_.push_back(static_cast<int>(g));
    tokens += fixed_[g];
  }
  return LeastBound(tokens, ranks_, *speeds_, one_speed_);
}

}  // namespace ballast
