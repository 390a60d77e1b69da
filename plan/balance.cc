#include "plan/balance.h"

#include <algorithm>

#include "base/check.h"
#include "plan/apportion.h"

namespace ballast {
namespace {

// A load per unit of speed: tokens / speed.
struct Ratio {
  int64_t tokens = 0;
  uint32_t speed = 1;
};

bool Less(const Ratio& a, const Ratio& b) {
  if (a.speed == b.speed) return a.tokens < b.tokens;
  return static_cast<__int128>(a.tokens) * b.speed < static_cast<__int128>(b.tokens) * a.speed;
}

// Whole tokens, of `total`, that a rank of `speed` may take under the bound.
int64_t Capacity(const Ratio& bound, uint32_t speed, int64_t total) {
  if (speed == bound.speed) return std::min(bound.tokens, total);
  const __int128 capacity = static_cast<__int128>(bound.tokens) * speed / bound.speed;
  return static_cast<int64_t>(std::min(capacity, static_cast<__int128>(total)));
}

// The least bound under which `ranks` together hold `tokens`. Between tokens / (sum of speeds) and the answer
// less than one token per rank is missing; those are given one by one to the rank that is then the least
// loaded.
Ratio LeastBound(int64_t tokens, const std::vector<int>& ranks, const std::vector<uint32_t>& speeds) {
  uint64_t speed_sum = 0;
  bool equal = true;
  for (int g : ranks) {
    speed_sum += speeds[g];
    equal &= speeds[g] == speeds[ranks[0]];
  }
  if (equal) {
    const int64_t count = static_cast<int64_t>(ranks.size());
    return {(tokens + count - 1) / count, speeds[ranks[0]]};
  }
  std::vector<int64_t> held;
  Ratio bound;
  int64_t missing = tokens;
  for (int g : ranks) {
    held.push_back(static_cast<int64_t>(static_cast<unsigned __int128>(tokens) * speeds[g] / speed_sum));
    missing -= held.back();
    if (Less(bound, {held.back(), speeds[g]})) bound = {held.back(), speeds[g]};
  }
  for (; missing > 0; --missing) {
    size_t least = 0;
    for (size_t i = 1; i < ranks.size(); ++i) {
      if (Less({held[i] + 1, speeds[ranks[i]]}, {held[least] + 1, speeds[ranks[least]]})) least = i;
    }
    ++held[least];
    if (Less(bound, {held[least], speeds[ranks[least]]})) bound = {held[least], speeds[ranks[least]]};
  }
  return bound;
}

// Experts with several hosts alone; the others' tokens are fixed. All copies of all split experts lie in one
// row, so that nothing is allocated while the flow is searched.
class Solver {
 public:
  Solver(const std::vector<int64_t>& tokens, const Copies& all, const std::vector<uint32_t>& speeds,
         const TokenSources* sources)
      : tokens_(tokens), all_(all), speeds_(speeds), sources_(sources), fixed_(speeds.size(), 0) {
    BALLAST_CHECK(speeds.size() <= kRanksMax) << speeds.size() << " ranks";
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
    spare_.resize(speeds.size());
    left_.resize(split_.size());
    stuck_.resize(split_.size());
    entered_.resize(speeds.size());
    seen_split_.resize(split_.size());
    ListResidents();
    if (sources_ != nullptr && !split_.empty()) SumNodes();
  }

  // By copy.
  std::vector<int64_t> Solve() {
    if (!split_.empty()) {
      Ratio bound = FirstBound();
      while (true) {
        Route(bound);
        Ratio next = bound;
        // An expert inside another's cut has a cut inside that one: left for the next round, if there is one.
        std::fill(stuck_.begin(), stuck_.end(), 0);
        for (int k = 0; k < splits(); ++k) {
          if (left_[k] == 0 || stuck_[k]) continue;
          const Ratio needed = BoundOfCut(k);
          if (Less(next, needed)) next = needed;
          MarkSeen();
        }
        std::fill(stuck_.begin(), stuck_.end(), 0);
        if (!Less(bound, next)) break;
        bound = next;
      }
    }
    std::vector<int64_t> quotas(all_.rank.size(), 0);
    for (size_t e = 0; e < tokens_.size(); ++e) {
      if (all_.of(e) == 1) quotas[all_.begin[e]] = tokens_[e];
    }
    for (int k = 0; k < splits(); ++k)
      std::copy(flow_.begin() + first_[k], flow_.begin() + first_[k + 1],
                quotas.begin() + all_.begin[split_[k]]);
    return quotas;
  }

 private:
  struct Copy {
    int split = 0;  // index into split_
    int rank = 0;
  };

  int splits() const { return static_cast<int>(split_.size()); }

  void ListResidents() {
    resident_begin_.assign(speeds_.size() + 1, 0);
    for (const Copy& copy : copies_) ++resident_begin_[copy.rank + 1];
    for (size_t g = 0; g < speeds_.size(); ++g) resident_begin_[g + 1] += resident_begin_[g];
    residents_.resize(copies_.size());
    std::vector<int> next = resident_begin_;
    for (size_t c = 0; c < copies_.size(); ++c) residents_[next[copies_[c].rank]++] = static_cast<int>(c);
  }

  // Tokens of the split experts that start on each node.
  void SumNodes() {
    const Topology& topology = sources_->topology;
    node_tokens_.assign(static_cast<size_t>(topology.nodes()) * split_.size(), 0);
    for (size_t g = 0; g < speeds_.size(); ++g) {
      int64_t* const sums = node_tokens_.data() + topology.node_of_rank[g].index() * split_.size();
      const std::vector<int64_t>& row = sources_->counts[g];
      for (size_t k = 0; k < split_.size(); ++k) sums[k] += row[split_[k]];
    }
  }

  // Every bound that is seen without a flow: single hosts, each expert on its hosts, everything on all hosts.
  Ratio FirstBound() {
    Ratio bound;
    std::vector<char> hosting(speeds_.size(), 0);
    for (size_t g = 0; g < speeds_.size(); ++g) {
      if (Less(bound, {fixed_[g], speeds_[g]})) bound = {fixed_[g], speeds_[g]};
      hosting[g] = fixed_[g] > 0 || resident_begin_[g] < resident_begin_[g + 1];
    }
    for (int k = 0; k < splits(); ++k) {
      ranks_.clear();
      for (int c = first_[k]; c < first_[k + 1]; ++c) ranks_.push_back(copies_[c].rank);
      const Ratio alone = LeastBound(tokens_[split_[k]], ranks_, speeds_);
      if (Less(bound, alone)) bound = alone;
    }
    ranks_.clear();
    for (size_t g = 0; g < speeds_.size(); ++g) {
      if (hosting[g]) ranks_.push_back(static_cast<int>(g));
    }
    const Ratio together = LeastBound(total_, ranks_, speeds_);
    return Less(bound, together) ? together : bound;
  }

  // Routes as much as the bound allows into flow_; what is not routed is in left_.
  void Route(const Ratio& bound) {
    std::fill(flow_.begin(), flow_.end(), 0);
    for (size_t g = 0; g < speeds_.size(); ++g) spare_[g] = Capacity(bound, speeds_[g], total_) - fixed_[g];
    for (int k = 0; k < splits(); ++k) left_[k] = tokens_[split_[k]];
    if (sources_ != nullptr) {
      for (size_t c = 0; c < copies_.size(); ++c)
        Put(static_cast<int>(c),
            std::min(sources_->counts[copies_[c].rank][split_[copies_[c].split]], spare_[copies_[c].rank]));
      for (int k = 0; k < splits(); ++k) FillFromOwnNode(k);
    }
    for (int k = 0; k < splits(); ++k) {
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

  void Put(int copy, int64_t amount) {
    flow_[copy] += amount;
    spare_[copies_[copy].rank] -= amount;
    left_[copies_[copy].split] -= amount;
  }

  // What a node's hosts have not kept of the tokens that start on the node.
  void FillFromOwnNode(int k) {
    const Topology& topology = sources_->topology;
    for (int first = first_[k]; first < first_[k + 1]; ++first) {
      const NodeId node = topology.node(Rank(copies_[first].rank));
      chosen_.clear();
      int64_t open = node_tokens_[node.index() * split_.size() + static_cast<size_t>(k)];
      bool seen = false;
      for (int c = first_[k]; c < first_[k + 1]; ++c) {
        if (topology.node(Rank(copies_[c].rank)) != node) continue;
        seen |= c < first;
        open -= flow_[c];
        chosen_.push_back(c);
      }
      if (!seen) FillChosen(open);
    }
  }

  // Gives up to `amount` to the chosen copies in proportion to what their ranks can still take.
  void FillChosen(int64_t amount) {
    int64_t spare = 0;  // at most total_ for each rank, and kTokensMax * kRanksMax fits
    for (int c : chosen_) spare += spare_[copies_[c].rank];
    amount = std::min(amount, spare);
    for (int c : chosen_) {
      const int64_t own = spare_[copies_[c].rank];
      const int64_t part = own == 0 ? 0 : ProportionalPart(amount, own, spare);
      Put(c, part);
      amount -= part;
      spare -= own;
    }
  }

  // Breadth-first search over ranks: from a split expert to its hosts, from a full rank to the other hosts of
  // its residents. Returns the first rank with room, or -1; then the ranks seen are full and closed under
  // this step.
  int Search(int expert) {
    ++search_;
    queue_.clear();
    auto visit = [&](int k, int via) {
      seen_split_[k] = search_;
      for (int c = first_[k]; c < first_[k + 1]; ++c) {
        const int g = copies_[c].rank;
        if (entered_[g].search == search_) continue;
        entered_[g] = {.search = search_, .copy = c, .via = via};
        queue_.push_back(g);
        if (spare_[g] > 0) return g;
      }
      return -1;
    };
    int found = visit(expert, -1);
    for (size_t head = 0; found < 0 && head < queue_.size(); ++head) {
      const int g = queue_[head];
      for (int i = resident_begin_[g]; i < resident_begin_[g + 1] && found < 0; ++i) {
        const int c = residents_[i];
        const int k = copies_[c].split;
        if (seen_split_[k] != search_ && !stuck_[k] && flow_[c] > 0) found = visit(k, c);
      }
    }
    return found;
  }

  // What the last search saw counts as stuck.
  void MarkSeen() {
    for (size_t j = 0; j < stuck_.size(); ++j) stuck_[j] |= seen_split_[j] == search_;
  }

  // Moves tokens along one path from split expert `k` to a rank with room. False when there is none.
  bool Augment(int k) {
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
  Ratio BoundOfCut(int k) {
    BALLAST_CHECK(Search(k) < 0) << "expert " << split_[k] << " can still be routed";
    int64_t tokens = 0;
    for (int j = 0; j < splits(); ++j) tokens += seen_split_[j] == search_ ? tokens_[split_[j]] : 0;
    ranks_.clear();
    for (size_t g = 0; g < speeds_.size(); ++g) {
      if (entered_[g].search != search_) continue;
      ranks_.push_back(static_cast<int>(g));
      tokens += fixed_[g];
    }
    return LeastBound(tokens, ranks_, speeds_);
  }

  const std::vector<int64_t>& tokens_;
  const Copies& all_;
  const std::vector<uint32_t>& speeds_;
  const TokenSources* const sources_;
  int64_t total_ = 0;                 // tokens of all experts
  std::vector<int64_t> fixed_;        // [rank] tokens of experts with one host
  std::vector<int> split_;            // experts with tokens and several hosts, rising
  std::vector<int> first_ = {0};      // [k] first copy of split_[k]; one more at the end
  std::vector<Copy> copies_;          // by split expert, then by rising rank
  std::vector<int> resident_begin_;   // [rank] into residents_; one more at the end
  std::vector<int> residents_;        // copies by rank
  std::vector<int64_t> node_tokens_;  // [node][k]; empty without sources
  std::vector<int64_t> flow_;         // [copy]
  std::vector<int64_t> spare_;        // [rank]
  std::vector<int64_t> left_;         // [k] tokens not routed
  std::vector<int> chosen_;           // copies that FillChosen gives to
  std::vector<int> ranks_;            // of a bound
  // Of the last Search: how a rank was reached, by which of its copies and from which copy, on the rank
  // before it, of the same expert (-1: the start).
  struct Step {
    uint32_t search = 0;  // which search; others' steps are old
    int copy = -1;
    int via = -1;
  };
  uint32_t search_ = 0;
  std::vector<Step> entered_;         // [rank]
  std::vector<uint32_t> seen_split_;  // [k] the last search that saw it
  std::vector<char> stuck_;           // [k] of the Route at hand: no path leads to room
  std::vector<int> queue_;
};

}  // namespace

Quotas BalanceExactly(const std::vector<int64_t>& tokens, const std::vector<std::vector<Rank>>& hosts,
                      const std::vector<uint32_t>& speeds, const TokenSources* sources) {
  BALLAST_CHECK(tokens.size() == hosts.size())
      << tokens.size() << " loads, " << hosts.size() << " host lists";
  const Copies copies = Copies::OfHosts(hosts);
  const std::vector<int64_t> flat = BalanceCopies(tokens, copies, speeds, sources);
  Quotas quotas(hosts.size());
  for (size_t e = 0; e < hosts.size(); ++e)
    quotas[e].assign(flat.begin() + copies.begin[e], flat.begin() + copies.begin[e + 1]);
  return quotas;
}

std::vector<int64_t> BalanceCopies(const std::vector<int64_t>& tokens, const Copies& copies,
                                   const std::vector<uint32_t>& speeds, const TokenSources* sources) {
  return Solver(tokens, copies, speeds, sources).Solve();
}

std::vector<int64_t> RankTokens(const Quotas& quotas, const std::vector<std::vector<Rank>>& hosts,
                                int ranks) {
  std::vector<int64_t> tokens(static_cast<size_t>(ranks), 0);
  for (size_t e = 0; e < quotas.size(); ++e) {
    for (size_t i = 0; i < quotas[e].size(); ++i) tokens[hosts[e][i].index()] += quotas[e][i];
  }
  return tokens;
}

}  // namespace ballast
