#include "coordinator/planner/layer/node_ports.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/rng.h"
#include "coordinator/planner/layer/hier_split_pack.h"
#include "coordinator/planner/layer/layer_strategy.h"
#include "plan/split.h"
#include "tests/plan/simplex.h"
#include "worker/schedule/rails.h"

namespace ballast {
namespace {

constexpr int kRanks = 16, kSlots = 3, kPerNode = 8;

// What the workers would do with a microbatch, by plain counting over their shares.
struct Measured {
  double tokens_max = 0, tokens_mean = 0;
  double in_max = 0, out_max = 0, port_max = 0, port_mean = 0;  // port: in and out of a rank together
  double rails_least_port_max = 0;  // on rails, of what must leave under any split
  double rails_in_max = 0, rails_out_max = 0, rails_port_max = 0;  // rows sent on rails
  double crossing = 0, all = 0;
  void operator+=(const Measured& other) {
    tokens_max += other.tokens_max;
    tokens_mean += other.tokens_mean;
    in_max += other.in_max;
    out_max += other.out_max;
    port_max += other.port_max;
    port_mean += other.port_mean;
    rails_least_port_max += other.rails_least_port_max;
    rails_in_max += other.rails_in_max;
    rails_out_max += other.rails_out_max;
    rails_port_max += other.rails_port_max;
    crossing += other.crossing;
    all += other.all;
  }
  double share() const { return crossing / all; }
};

Split SplitFor(const std::string& all_to_all, const CountMatrix& counts, LayerPlan layer,
               const Topology& topology) {
  layer.schedule.all_to_all = all_to_all;
  auto split = ComputeSplit(counts, layer, static_cast<int>(counts[0].size()),
                            std::vector<uint32_t>(kRanks, 1 << 16), topology);
  BALLAST_CHECK_OK(split.status());
  return *std::move(split);
}

Measured Measure(const CountMatrix& counts, const SlotTable& table) {
  LayerPlan layer;
  layer.slots = SlotsOf(table);
  std::vector<std::string> names;
  for (int r = 0; r < kRanks; ++r) names.push_back(std::to_string(r / kPerNode));
  const Topology topology = Topology::FromNodeNames(names);
  std::vector<double> tokens(kRanks, 0), in(kRanks, 0), out(kRanks, 0), rails_in(kRanks, 0),
      rails_out(kRanks, 0);
  Measured measured;
  const Rails rails(topology);
  std::vector<double> must(kRanks, 0);  // over a rank's port on rails
  for (int s = 0; s < kRanks; ++s) {
    for (size_t e = 0; e < counts[0].size(); ++e) {
      const int node = s / kPerNode;
      const auto first = table.begin() + node * kPerNode;
      if (std::any_of(first, first + kPerNode,
                      [&](const auto& row) { return Holds(row, static_cast<int>(e)); })) {
        continue;
      }
      must[static_cast<size_t>(s)] += static_cast<double>(counts[s][e]);
      must[rails.On(Rank(s), NodeId(1 - node)).index()] += static_cast<double>(counts[s][e]);
    }
  }
  measured.rails_least_port_max = *std::max_element(must.begin(), must.end());
  for (const Share& share : SplitFor("direct", counts, layer, topology).shares) {
    const double count = static_cast<double>(share.count);
    measured.all += count;
    tokens[share.host.index()] += count;
    if (share.source.index() / kPerNode == share.host.index() / kPerNode) continue;
    measured.crossing += count;
    in[share.host.index()] += count;
    out[share.source.index()] += count;
  }
  for (const Share& share : SplitFor(kRails, counts, layer, topology).shares) {
    Rank at = share.source;
    for (Rank stop : rails.Stops({.from = share.source, .to = share.host}, Direction::kDispatch)) {
      if (at.index() / kPerNode != stop.index() / kPerNode) {
        rails_out[at.index()] += static_cast<double>(share.count);
        rails_in[stop.index()] += static_cast<double>(share.count);
      }
      at = stop;
    }
  }
  measured.tokens_max = *std::max_element(tokens.begin(), tokens.end());
  measured.tokens_mean = measured.all / kRanks;
  measured.in_max = *std::max_element(in.begin(), in.end());
  measured.out_max = *std::max_element(out.begin(), out.end());
  measured.rails_in_max = *std::max_element(rails_in.begin(), rails_in.end());
  measured.rails_out_max = *std::max_element(rails_out.begin(), rails_out.end());
  for (size_t g = 0; g < kRanks; ++g) {
    measured.port_max = std::max(measured.port_max, in[g] + out[g]);
    measured.rails_port_max = std::max(measured.rails_port_max, rails_in[g] + rails_out[g]);
  }
  measured.port_mean = 2 * measured.crossing / kRanks;
  return measured;
}

// No split of the counts over the placement, and no choice of whose tokens leave a node, makes the busiest
// port (in and out, rows sent straight) less, given that no rank computes more than `tokens_max` and no more
// than `crossing` leave nodes in all: a linear program over (expert, source's node, host), asked whether all
// tokens find room under a bound on ports, by bisection from below. What of a source's tokens leaves is
// relaxed: its node's sum holds, and what must leave does.
double LeastPort(const CountMatrix& counts, const SlotTable& table, double tokens_max, double crossing,
                 double port_max) {
  const size_t experts = counts[0].size(), nodes = kRanks / kPerNode;
  struct Variable {
    size_t expert, node, host;
  };
  std::vector<Variable> variables;
  std::vector<char> hosted(experts * nodes, 0);
  for (size_t h = 0; h < kRanks; ++h) {
    for (int e : table[h]) {
      if (e == kNoExpert) continue;
      hosted[static_cast<size_t>(e) * nodes + h / kPerNode] = 1;
      for (size_t n = 0; n < nodes; ++n) variables.push_back({static_cast<size_t>(e), n, h});
    }
  }
  std::vector<double> tokens(experts * nodes, 0), forced(kRanks, 0);
  double all = 0;
  for (size_t s = 0; s < kRanks; ++s) {
    for (size_t e = 0; e < experts; ++e) {
      const double count = static_cast<double>(counts[s][e]);
      tokens[e * nodes + s / kPerNode] += count;
      if (!hosted[e * nodes + s / kPerNode]) forced[s] += count;
      all += count;
    }
  }
  // Columns: the variables, then what each rank sends beyond what it must. Rows: tokens of (expert, node),
  // ranks, ports, what each node sends, what all send.
  const size_t columns = variables.size() + kRanks, ranks_at = experts * nodes, ports_at = ranks_at + kRanks,
               sent_at = ports_at + kRanks, rows = sent_at + nodes + 1;
  std::vector<std::vector<double>> a(rows, std::vector<double>(columns, 0));
  std::vector<double> b(rows, 0), c(columns, 0);
  for (size_t i = 0; i < ranks_at; ++i) b[i] = tokens[i];
  for (size_t i = 0; i < variables.size(); ++i) {
    const Variable& x = variables[i];
    a[x.expert * nodes + x.node][i] = a[ranks_at + x.host][i] = c[i] = 1;
    if (x.host / kPerNode == x.node) continue;
    a[ports_at + x.host][i] = a[sent_at + x.node][i] = a[rows - 1][i] = 1;
  }
  for (size_t g = 0; g < kRanks; ++g) {
    a[ports_at + g][variables.size() + g] = 1;
    a[sent_at + g / kPerNode][variables.size() + g] = -1;
    b[ranks_at + g] = tokens_max;
    b[sent_at + g / kPerNode] += forced[g];
  }
  b[rows - 1] = crossing;
  double low = *std::max_element(forced.begin(), forced.end()), high = port_max;
  for (int i = 0; i < 7; ++i) {
    const double port = (low + high) / 2;
    for (size_t g = 0; g < kRanks; ++g) b[ports_at + g] = port - forced[g];
    (testing::SolveLinearProgram(a, b, c) >= all - 1e-3 ? high : low) = port;
  }
  return low;
}

// The busiest port, in the mean rank's tokens, in one direction.
double Busiest(const Measured& m) { return std::max(m.in_max, m.out_max) / m.tokens_mean; }

double BusiestOnRails(const Measured& m) { return std::max(m.rails_in_max, m.rails_out_max) / m.tokens_mean; }

void Print(const char* name, const Measured& m) {
  std::cout << name << ": off-node share " << m.share() << ", tokens max/mean "
            << m.tokens_max / m.tokens_mean << ", busiest port " << Busiest(m)
            << " of a rank's tokens, ports both ways max/mean " << m.port_max / m.port_mean
            << "; on rails: busiest port " << BusiestOnRails(m) << ", ports both ways max/mean "
            << m.rails_port_max / m.port_mean << " (any split at least "
            << m.rails_least_port_max / m.port_mean << ")\n";
}

// Rails spread over ports what direct leaves on those of few hosts.
void ExpectRailsSpread(const Measured& m) {
  EXPECT_LE(BusiestOnRails(m), 0.7 * Busiest(m));
  EXPECT_LE(m.rails_port_max, 1.1 * m.port_mean);
}

// Against the demand: off-node share at most 0.30 at max/mean at most 1.15, and the busiest port no busier
// than 1.1 times that share.
void ExpectLittleTraffic(const Measured& m) {
  EXPECT_LE(m.share(), 0.30);
  EXPECT_LE(m.tokens_max / m.tokens_mean, 1.15);
  EXPECT_LE(Busiest(m), 1.1 * 0.30);
}

// hier_splitpack's table for a load that it has never seen a placement for.
SlotTable Planned(const LayerTask& task, bool rails = true) {
  const SlotTable start = ContiguousTable(task);
  const std::vector<std::vector<int64_t>> recent = {task.load};
  LayerView view{task, start, recent, RelativeCosts(task, 0, 0.02), true};
  view.ports.rails = rails;
  const std::optional<LayerChoice> choice = (*LayerStrategies().Find("hier_splitpack"))->Choose(view);
  BALLAST_CHECK(choice.has_value()) << "nothing is better than contiguous";
  return choice->table;
}

// The recorded loads of the SmartMoE artefact: [step][source][layer][microbatch][expert], 16 bits each.
class Trace {
 public:
  static constexpr int kSteps = 501, kSources = 16, kLayers = 24, kMicrobatches = 4, kExperts = 32;
  static std::unique_ptr<Trace> Read() {
    const char* folder = std::getenv("BALLAST_TRACE_DIR");
    if (folder == nullptr) return nullptr;
    auto trace = std::make_unique<Trace>();
    trace->values_.resize(size_t{kSteps} * kSources * kLayers * kMicrobatches * kExperts);
    const std::string command = "xz -dc '" + std::string(folder) + "/smartmoe-ae/moe_trace_u16.bin.xz'";
    std::FILE* pipe = popen(command.c_str(), "r");
    const size_t read = std::fread(trace->values_.data(), 2, trace->values_.size(), pipe);
    return pclose(pipe) == 0 && read == trace->values_.size() ? std::move(trace) : nullptr;
  }
  CountMatrix Counts(int step, int layer, int microbatch) const {
    CountMatrix counts(kSources, std::vector<int64_t>(kExperts));
    for (int s = 0; s < kSources; ++s) {
      for (int e = 0; e < kExperts; ++e) {
        counts[s][e] =
            values_[(((size_t(step) * kSources + s) * kLayers + layer) * kMicrobatches + microbatch) *
                        kExperts +
                    e];
      }
    }
    return counts;
  }
  std::vector<int64_t> Loads(int step, int layer) const {
    std::vector<int64_t> loads(kExperts, 0);
    for (int m = 0; m < kMicrobatches; ++m) {
      for (const auto& row : Counts(step, layer, m)) {
        for (int e = 0; e < kExperts; ++e) loads[e] += row[e];
      }
    }
    return loads;
  }

 private:
  std::vector<uint16_t> values_;
};

TEST(NodePorts, OnTheRecordedTrace) {
  const std::unique_ptr<Trace> trace = Trace::Read();
  if (trace == nullptr) GTEST_SKIP() << "BALLAST_TRACE_DIR is not set or has no trace";
  Measured nodes_first, both;
  for (int step = 20; step < Trace::kSteps; step += 160) {
    for (int l = 0; l < Trace::kLayers; ++l) {
      const LayerTask task = UniformTask(trace->Loads(step - 1, l), kRanks, kSlots, kPerNode);
      const SlotTable start = HierSplitPack(task), table = Planned(task);
      for (int m = 0; m < Trace::kMicrobatches; ++m) {
        nodes_first += Measure(trace->Counts(step, l, m), start);
        both += Measure(trace->Counts(step, l, m), table);
      }
    }
  }
  Print("nodes, then tokens", nodes_first);
  Print("tokens and ports", both);
  ExpectLittleTraffic(both);
  EXPECT_LE(Busiest(both), 0.6 * Busiest(nodes_first));
  ExpectRailsSpread(both);
  EXPECT_LE(BusiestOnRails(both), 0.1);
  // Without the search there is more to send, within the same demand, and less noise in it.
  EXPECT_LE(nodes_first.share(), 0.30);
  EXPECT_LE(nodes_first.tokens_max / nodes_first.tokens_mean, 1.15);
  EXPECT_LE(nodes_first.rails_port_max, 1.1 * nodes_first.port_mean);
}

// Tokens of an expert from each source, with the spread of independent draws.
CountMatrix Draw(Rng& rng, const std::vector<double>& shares) {
  CountMatrix counts(kRanks, std::vector<int64_t>(shares.size()));
  for (auto& row : counts) {
    for (size_t e = 0; e < row.size(); ++e) {
      const double mean = 4096 * shares[e];
      row[e] = std::max<int64_t>(0, std::llround(mean + std::sqrt(mean) * rng.Normal()));
    }
  }
  return counts;
}

TEST(NodePorts, OnGeneratedLoads) {
  Rng rng(121);
  Measured nodes_first, both, for_straight;
  for (int layer = 0; layer < 20; ++layer) {
    std::vector<double> shares;
    for (int e = 0; e < 32; ++e) shares.push_back(std::exp(1.2 * rng.Normal()));
    const double sum = std::accumulate(shares.begin(), shares.end(), 0.0);
    for (double& share : shares) share /= sum;
    std::vector<int64_t> loads(32, 0);
    for (const auto& row : Draw(rng, shares)) {
      for (size_t e = 0; e < row.size(); ++e) loads[e] += row[e];
    }
    const LayerTask task = UniformTask(loads, kRanks, kSlots, kPerNode);
    const SlotTable start = HierSplitPack(task), table = Planned(task),
                    straight = Planned(task, /*rails=*/false);
    for (int m = 0; m < 4; ++m) {
      const CountMatrix counts = Draw(rng, shares);
      nodes_first += Measure(counts, start);
      both += Measure(counts, table);
      for_straight += Measure(counts, straight);
    }
  }
  Print("nodes, then tokens", nodes_first);
  Print("tokens and ports", both);
  Print("tokens and ports, rows sent straight", for_straight);
  ExpectLittleTraffic(both);
  EXPECT_LT(Busiest(both), Busiest(nodes_first));
  ExpectRailsSpread(both);
  // Each placement is the better one for what it was made for.
  EXPECT_LT(BusiestOnRails(both), BusiestOnRails(for_straight));
  EXPECT_LT(Busiest(for_straight), Busiest(both));
}

// What a split could still do where rows are sent straight to their hosts, beside what rails do.
TEST(NodePorts, NoSplitEvensPortsWithoutRails) {
  const std::unique_ptr<Trace> trace = Trace::Read();
  if (trace == nullptr) GTEST_SKIP() << "BALLAST_TRACE_DIR is not set or has no trace";
  double least = 0;
  Measured sum;
  for (int l = 0; l < Trace::kLayers; l += 4) {
    const SlotTable table = Planned(UniformTask(trace->Loads(179, l), kRanks, kSlots, kPerNode));
    const CountMatrix counts = trace->Counts(180, l, 0);
    const Measured measured = Measure(counts, table);
    least += LeastPort(counts, table, measured.tokens_max, measured.crossing, measured.port_max);
    sum += measured;
  }
  std::cout << "any split: ports both ways max/mean at least " << least / sum.port_mean
            << ", the workers' split " << sum.port_max / sum.port_mean << ", on rails "
            << sum.rails_port_max / sum.port_mean << "\n";
  EXPECT_GT(least / sum.port_mean, 1.1) << "a split would do";
}

}  // namespace
}  // namespace ballast
