#include "coordinator/planner/schedule/all_to_all_time.h"

#include <algorithm>
#include <cstddef>
#include <utility>

namespace ballast {
namespace {

constexpr double kMustGain = 0.95;

// One stage: what every rank's ports carry.
class Stage {
 public:
  explicit Stage(const Topology& topology)
      : topology_(topology), ports_(static_cast<size_t>(topology.ranks())) {}

  // A message; none when there is nothing to say, or to oneself.
  void Send(size_t from, size_t to, double bytes) {
    if (bytes <= 0 || from == to) return;
    const bool inside = topology_.node_of_rank[from] == topology_.node_of_rank[to];
    for (Load* load : {inside ? &ports_[from].inside_out : &ports_[from].out,
                       inside ? &ports_[to].inside_in : &ports_[to].in}) {
      load->messages += 1;
      load->bytes += bytes;
    }
  }

  double Seconds(const Network& network) const {
    double most = 0;
    for (size_t r = 0; r < ports_.size(); ++r) {
      const PortSpeed& between = network.between[topology_.node_of_rank[r].index()];
      for (const auto& [load, port] :
           {std::pair(ports_[r].inside_in, network.inside), std::pair(ports_[r].inside_out, network.inside),
            std::pair(ports_[r].in, between), std::pair(ports_[r].out, between)}) {
        most = std::max(most, load.messages * port.latency + load.bytes / port.bytes_per_second);
      }
    }
    return most;
  }

 private:
  struct Load {
    double messages = 0;
    double bytes = 0;
  };
  struct Ports {
    Load inside_in, inside_out, in, out;
  };
  const Topology& topology_;
  std::vector<Ports> ports_;
};

// [node] mean of its ranks' slowdowns.
std::vector<double> NodeSlowdowns(const Topology& topology, const MeasuredPorts& measured) {
  std::vector<double> sums(topology.node_names.size(), 0), ranks(sums);
  for (size_t r = 0; r < topology.node_of_rank.size(); ++r) {
    const size_t node = topology.node_of_rank[r].index();
    sums[node] += measured.slowdowns.empty() ? 1 : measured.slowdowns[r];
    ++ranks[node];
  }
  for (size_t n = 0; n < sums.size(); ++n) sums[n] /= ranks[n];
  return sums;
}

double Direct(const TrafficMatrix& bytes, const Topology& topology, const Network& network) {
  Stage stage(topology);
  for (size_t s = 0; s < bytes.size(); ++s) {
    for (size_t h = 0; h < bytes.size(); ++h) stage.Send(s, h, bytes[s][h]);
  }
  return stage.Seconds(network);
}

double OnRails(const TrafficMatrix& bytes, const Topology& topology, const Network& network) {
  std::vector<std::vector<Rank>> ranks;
  for (int n = 0; n < topology.nodes(); ++n) ranks.push_back(topology.RanksOf(NodeId(n)));
  std::vector<size_t> place(bytes.size());
  for (const std::vector<Rank>& node : ranks) {
    for (size_t i = 0; i < node.size(); ++i) place[node[i].index()] = i;
  }
  TrafficMatrix first(bytes.size(), std::vector<double>(bytes.size(), 0)), last = first;
  for (size_t s = 0; s < bytes.size(); ++s) {
    for (size_t h = 0; h < bytes.size(); ++h) {
      if (topology.node_of_rank[s] == topology.node_of_rank[h]) {
        first[s][h] += bytes[s][h];
        continue;
      }
      const std::vector<Rank>& there = ranks[topology.node_of_rank[h].index()];
      const size_t on_rail = there[place[s] % there.size()].index();
      first[s][on_rail] += bytes[s][h];
      last[on_rail][h] += bytes[s][h];
    }
  }
  Stage cross(topology), inside(topology);
  for (size_t s = 0; s < bytes.size(); ++s) {
    for (size_t h = 0; h < bytes.size(); ++h) {
      cross.Send(s, h, first[s][h]);
      inside.Send(s, h, last[s][h]);
    }
  }
  return cross.Seconds(network) + inside.Seconds(network);
}

double TwoLevel(const TrafficMatrix& bytes, const Topology& topology, const Network& network) {
  std::vector<std::vector<Rank>> ranks;
  for (int n = 0; n < topology.nodes(); ++n) ranks.push_back(topology.RanksOf(NodeId(n)));
  const auto leader = [&](size_t here, size_t there) {
    return ranks[here][there % ranks[here].size()].index();
  };
  Stage gather(topology), cross(topology), scatter(topology);
  const size_t nodes = ranks.size();
  std::vector<std::vector<double>> pairs(nodes, std::vector<double>(nodes, 0));
  // A rank's rows for its leader are one message, whatever their ends; so are a leader's for a rank.
  TrafficMatrix first(bytes.size(), std::vector<double>(bytes.size(), 0)), last = first;
  for (size_t s = 0; s < bytes.size(); ++s) {
    for (size_t h = 0; h < bytes.size(); ++h) {
      const size_t from = topology.node_of_rank[s].index(), to = topology.node_of_rank[h].index();
      if (from == to) {
        first[s][h] += bytes[s][h];
        continue;
      }
      first[s][leader(from, to)] += bytes[s][h];
      pairs[from][to] += bytes[s][h];
      last[leader(to, from)][h] += bytes[s][h];
    }
  }
  for (size_t s = 0; s < bytes.size(); ++s) {
    for (size_t h = 0; h < bytes.size(); ++h) {
      gather.Send(s, h, first[s][h]);
      scatter.Send(s, h, last[s][h]);
    }
  }
  for (size_t from = 0; from < nodes; ++from) {
    for (size_t to = 0; to < nodes; ++to) {
      if (from != to) cross.Send(leader(from, to), leader(to, from), pairs[from][to]);
    }
  }
  return gather.Seconds(network) + cross.Seconds(network) + scatter.Seconds(network);
}

}  // namespace

std::optional<Network> NetworkOf(const Topology& topology, const MeasuredPorts& measured) {
  const size_t nodes = topology.node_names.size();
  std::vector<PortSpeed> sums(nodes);
  std::vector<int> counts(nodes, 0);
  PortSpeed all;
  int probed = 0;
  for (size_t from = 0; from < nodes && !topology.links.empty(); ++from) {
    for (size_t to = 0; to < nodes; ++to) {
      const LinkSpeed& link = topology.links[from * nodes + to];
      if (from == to || link.bytes_per_second <= 0) continue;
      for (size_t node : {from, to}) {
        sums[node].latency += link.latency_seconds;
        sums[node].bytes_per_second += link.bytes_per_second;
        ++counts[node];
      }
      all.latency += link.latency_seconds;
      all.bytes_per_second += link.bytes_per_second;
      ++probed;
    }
  }
  const std::optional<double> between = nodes > 1 ? measured.between : measured.inside;
  if (probed == 0 && !between) return std::nullopt;
  const std::vector<double> slow = NodeSlowdowns(topology, measured);
  Network network;
  double fastest = 0, latency = probed > 0 ? all.latency / probed : 0;
  for (size_t n = 0; n < nodes; ++n) {
    const PortSpeed& sum = counts[n] > 0 ? sums[n] : all;
    const int count = std::max(1, counts[n] > 0 ? counts[n] : probed);
    const double speed = between ? *between / slow[n] : sum.bytes_per_second / count;
    network.between.push_back({sum.latency / count, speed});
    fastest = std::max(fastest, speed);
    latency = std::min(latency, network.between.back().latency);
  }
  network.inside = {latency / kInsideFaster, measured.inside.value_or(fastest * kInsideFaster)};
  return network;
}

std::optional<double> AllToAllSeconds(const std::string& algorithm, const TrafficMatrix& bytes,
                                      const Topology& topology, const Network& network) {
  if (algorithm == "direct") return Direct(bytes, topology, network);
  if (algorithm == "rails") return OnRails(bytes, topology, network);
  if (algorithm == "two_level") return TwoLevel(bytes, topology, network);
  return std::nullopt;
}

std::string ChooseAllToAll(const std::vector<std::string>& names, const std::string& current,
                           const TrafficMatrix& bytes, const Topology& topology, const Network& network) {
  const std::optional<double> now = AllToAllSeconds(current, bytes, topology, network);
  if (!now) return current;
  std::string best = current;
  double least = *now * kMustGain;
  for (const std::string& name : names) {
    const std::optional<double> seconds = AllToAllSeconds(name, bytes, topology, network);
    if (name == current || !seconds || *seconds > least) continue;
    least = *seconds;
    best = name;
  }
  return best;
}

}  // namespace ballast
