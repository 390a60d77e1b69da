#include "plan/balance.h"

#include <algorithm>
#include <deque>

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
  return static_cast<__int128>(a.tokens) * b.speed < static_cast<__int128>(b.tokens) * a.speed;
}

// Whole tokens, of `total`, that a rank of `speed` may take under the bound.
int64_t Capacity(const Ratio& bound, uint32_t speed, int64_t total) {
  const __int128 capacity = static_cast<__int128>(bound.tokens) * speed / bound.speed;
  return static_cast<int64_t>(std::min(capacity, static_cast<__int128>(total)));
}

// The least bound under which `ranks` together hold `tokens`. Between tokens / (sum of speeds) and the answer
// less than one token per rank is missing; those are given one by one to the rank that is then the least
// loaded.
Ratio LeastBound(int64_t tokens, const std::vector<int>& ranks, const std::vector<uint32_t>& speeds) {
  uint64_t speed_sum = 0;
  for (int g : ranks) speed_sum += speeds[g];
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

class Solver {
 public:
  Solver(const std::vector<int64_t>& tokens, const std::vector<std::vector<Rank>>& hosts,
         const std::vector<uint32_t>& speeds, const TokenSources* sources)
      : tokens_(tokens),
        hosts_(hosts),
        speeds_(speeds),
        sources_(sources),
        fixed_(speeds.size(), 0),
        residents_(speeds.size()) {
    BALLAST_CHECK(speeds.size() <= kRanksMax) << speeds.size() << " ranks";
    for (size_t e = 0; e < tokens.size(); ++e) {
      total_ += tokens[e];
      BALLAST_CHECK(total_ <= kTokensMax) << "tokens overflow";
      if (tokens[e] == 0) continue;
      BALLAST_CHECK(tokens[e] > 0 && !hosts[e].empty())
          << "expert " << e << " has " << tokens[e] << " tokens";
      if (hosts[e].size() == 1) {
        fixed_[hosts[e][0].index()] += tokens[e];
        continue;
      }
      split_.push_back(static_cast<int>(e));
      for (size_t i = 0; i < hosts[e].size(); ++i) {
        residents_[hosts[e][i].index()].push_back({static_cast<int>(e), static_cast<int>(i)});
      }
    }
  }

  Quotas Solve() {
    Quotas quotas = Empty();
    for (size_t e = 0; e < tokens_.size(); ++e) {
      if (hosts_[e].size() == 1) quotas[e][0] = tokens_[e];
    }
    if (split_.empty()) return quotas;
    Ratio bound = FirstBound();
    flow_ = quotas;
    while (true) {
      const std::vector<int64_t> unrouted = Route(bound);
      Ratio next = bound;
      for (int e : split_) {
        if (unrouted[e] == 0) continue;
        const Ratio needed = BoundOfCut(e);
        if (Less(next, needed)) next = needed;
      }
      if (!Less(bound, next)) break;
      bound = next;
      flow_ = quotas;
    }
    return std::move(flow_);
  }

 private:
  struct Resident {  // an expert that has other hosts too
    int expert = 0;
    int host = 0;  // index into hosts_[expert]
  };

  Quotas Empty() const {
    Quotas quotas(tokens_.size());
    for (size_t e = 0; e < tokens_.size(); ++e) quotas[e].assign(hosts_[e].size(), 0);
    return quotas;
  }

  // Every bound that is seen without a flow: single hosts, each expert on its hosts, everything on all hosts.
  Ratio FirstBound() const {
    Ratio bound;
    std::vector<char> hosting(speeds_.size(), 0);
    for (size_t g = 0; g < speeds_.size(); ++g) {
      if (Less(bound, {fixed_[g], speeds_[g]})) bound = {fixed_[g], speeds_[g]};
      hosting[g] = fixed_[g] > 0;
    }
    for (int e : split_) {
      std::vector<int> ranks;
      for (Rank host : hosts_[e]) {
        ranks.push_back(host.value());
        hosting[host.index()] = 1;
      }
      const Ratio alone = LeastBound(tokens_[e], ranks, speeds_);
      if (Less(bound, alone)) bound = alone;
    }
    std::vector<int> all;
    for (size_t g = 0; g < speeds_.size(); ++g) {
      if (hosting[g]) all.push_back(static_cast<int>(g));
    }
    const Ratio together = LeastBound(total_, all, speeds_);
    return Less(bound, together) ? together : bound;
  }

  // Routes as much as the bound allows into flow_; returns what is left, by expert.
  std::vector<int64_t> Route(const Ratio& bound) {
    spare_.resize(speeds_.size());
    for (size_t g = 0; g < speeds_.size(); ++g) spare_[g] = Capacity(bound, speeds_[g], total_) - fixed_[g];
    std::vector<int64_t> left(tokens_.size(), 0);
    for (int e : split_) left[e] = tokens_[e];
    if (sources_) {
      for (int e : split_) FillFromOwnRank(e, left);
      for (int e : split_) FillFromOwnNode(e, left);
    }
    for (int e : split_) {
      std::vector<size_t> all(hosts_[e].size());
      for (size_t i = 0; i < all.size(); ++i) all[i] = i;
      FillBySpare(e, all, left[e], left);
    }
    for (int e : split_) {
      while (left[e] > 0 && Augment(e, left)) {
      }
    }
    return left;
  }

  void Put(int e, size_t host, int64_t amount, std::vector<int64_t>& left) {
    flow_[e][host] += amount;
    spare_[hosts_[e][host].index()] -= amount;
    left[e] -= amount;
  }

  void FillFromOwnRank(int e, std::vector<int64_t>& left) {
    for (size_t i = 0; i < hosts_[e].size(); ++i) {
      const size_t g = hosts_[e][i].index();
      Put(e, i, std::min(sources_->counts[g][e], spare_[g]), left);
    }
  }

  void FillFromOwnNode(int e, std::vector<int64_t>& left) {
    const Topology& topology = sources_->topology;
    std::vector<int64_t> open(static_cast<size_t>(topology.nodes()),
                              0);  // [node] tokens not yet kept on the node
    std::vector<std::vector<size_t>> hosts(open.size());
    for (size_t g = 0; g < speeds_.size(); ++g) {
      open[topology.node_of_rank[g].index()] += sources_->counts[g][e];
    }
    for (size_t i = 0; i < hosts_[e].size(); ++i) {
      const size_t node = topology.node(hosts_[e][i]).index();
      open[node] -= flow_[e][i];
      hosts[node].push_back(i);
    }
    for (size_t node = 0; node < open.size(); ++node) {
      if (!hosts[node].empty()) FillBySpare(e, hosts[node], open[node], left);
    }
  }

  // Gives up to `amount` to the hosts in proportion to what each can still take.
  void FillBySpare(int e, const std::vector<size_t>& hosts, int64_t amount, std::vector<int64_t>& left) {
    std::vector<int64_t> spare;
    __int128 sum = 0;
    for (size_t i : hosts) {
      spare.push_back(spare_[hosts_[e][i].index()]);
      sum += spare.back();
    }
    if (amount >= sum) {
      for (size_t i = 0; i < hosts.size(); ++i) Put(e, hosts[i], spare[i], left);
      return;
    }
    const std::vector<int64_t> parts = Apportion(amount, spare);
    for (size_t i = 0; i < hosts.size(); ++i) Put(e, hosts[i], parts[i], left);
  }

  // Breadth-first search over ranks: from `expert` to its hosts, from a full rank to the other hosts of its
  // residents. Returns the first rank with room, or -1; then the ranks seen are full and closed under this
  // step.
  int Search(int expert) {
    from_.assign(speeds_.size(), Resident{-1, -1});
    to_host_.assign(speeds_.size(), -1);
    seen_expert_.assign(tokens_.size(), 0);
    queue_.clear();
    auto visit = [&](int e, int via) {
      seen_expert_[e] = 1;
      for (size_t i = 0; i < hosts_[e].size(); ++i) {
        const size_t g = hosts_[e][i].index();
        if (to_host_[g] >= 0) continue;
        from_[g] = {e, via};
        to_host_[g] = static_cast<int>(i);
        queue_.push_back(static_cast<int>(g));
        if (spare_[g] > 0) return static_cast<int>(g);
      }
      return -1;
    };
    int found = visit(expert, -1);
    while (found < 0 && !queue_.empty()) {
      const int g = queue_.front();
      queue_.pop_front();
      for (const Resident& resident : residents_[g]) {
        if (seen_expert_[resident.expert] || flow_[resident.expert][resident.host] == 0) continue;
        found = visit(resident.expert, resident.host);
        if (found >= 0) break;
      }
    }
    return found;
  }

  // Moves tokens along one path from `expert` to a rank with room. False when there is none.
  bool Augment(int expert, std::vector<int64_t>& left) {
    const int end = Search(expert);
    if (end < 0) return false;
    // A path enters rank g by expert from_[g].expert, which gives up its flow at its host from_[g].host.
    int64_t amount = std::min(left[expert], spare_[end]);
    for (int g = end; from_[g].host >= 0; g = Previous(g)) {
      amount = std::min(amount, flow_[from_[g].expert][from_[g].host]);
    }
    for (int g = end;; g = Previous(g)) {
      const Resident& entered = from_[g];
      flow_[entered.expert][to_host_[g]] += amount;
      if (entered.host < 0) break;
      flow_[entered.expert][entered.host] -= amount;
    }
    spare_[end] -= amount;
    left[expert] -= amount;
    return true;
  }

  int Previous(int g) const { return hosts_[from_[g].expert][from_[g].host].value(); }

  // `expert` cannot be routed: the experts and ranks that a search from it sees are a minimum cut. Their
  // tokens have no other place, which gives the next bound.
  Ratio BoundOfCut(int expert) {
    BALLAST_CHECK(Search(expert) < 0) << "expert " << expert << " can still be routed";
    int64_t tokens = 0;
    for (int e : split_) tokens += seen_expert_[e] ? tokens_[e] : 0;
    std::vector<int> ranks;
    for (size_t g = 0; g < speeds_.size(); ++g) {
      if (to_host_[g] < 0) continue;
      ranks.push_back(static_cast<int>(g));
      tokens += fixed_[g];
    }
    return LeastBound(tokens, ranks, speeds_);
  }

  const std::vector<int64_t>& tokens_;
  const std::vector<std::vector<Rank>>& hosts_;
  const std::vector<uint32_t>& speeds_;
  const TokenSources* const sources_;
  int64_t total_ = 0;                             // tokens of all experts
  std::vector<int> split_;                        // experts with tokens and several hosts, rising
  std::vector<int64_t> fixed_;                    // [rank] tokens of experts with one host
  std::vector<std::vector<Resident>> residents_;  // [rank]
  Quotas flow_;
  std::vector<int64_t> spare_;  // [rank]
  // Of the last Search.
  std::vector<Resident>
      from_;  // [rank] the expert that reached it, and from which of its hosts (-1: the start)
  std::vector<int> to_host_;       // [rank] index of the rank among that expert's hosts; -1 = not seen
  std::vector<char> seen_expert_;  // [expert]
  std::deque<int> queue_;
};

}  // namespace

Quotas BalanceExactly(const std::vector<int64_t>& tokens, const std::vector<std::vector<Rank>>& hosts,
                      const std::vector<uint32_t>& speeds, const TokenSources* sources) {
  BALLAST_CHECK(tokens.size() == hosts.size())
      << tokens.size() << " loads, " << hosts.size() << " host lists";
  return Solver(tokens, hosts, speeds, sources).Solve();
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
