// How long the exact split takes that each rank computes for each microbatch and layer: the division over
// hosts alone; with the shares and the route that one rank needs (direct: its own rows and columns,
// two_level: those of its node); and with all shares, which no rank needs.
//
//   split_time [--rounds N]
//
// Loads are log-normal (sigma 1.2) as a plan saw them; the split meets them after a drift of each by 20 %.
// Prints one line of JSON for each shape: medians and 99th percentiles in microseconds of CPU time.
#include <time.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/rng.h"
#include "coordinator/planner/layer/split_pack.h"
#include "plan/balance.h"
#include "plan/split.h"
#include "worker/schedule/all_to_all.h"

namespace ballast {
namespace {

struct Shape {
  int experts = 0;
  int ranks = 0;
  int slots = 0;
  int ranks_per_node = 0;
};

// Of this thread's CPU time, so that other load hardly matters.
double Microseconds() {
  timespec now;
  BALLAST_CHECK(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now) == 0);
  return static_cast<double>(now.tv_sec) * 1e6 + static_cast<double>(now.tv_nsec) * 1e-3;
}

double Percentile(std::vector<double> values, double share) {
  std::sort(values.begin(), values.end());
  return values[std::min(values.size() - 1, static_cast<size_t>(share * static_cast<double>(values.size())))];
}

void Measure(const Shape& shape, int rounds) {
  Rng rng(1);
  std::vector<std::string> nodes;
  for (int r = 0; r < shape.ranks; ++r) nodes.push_back(std::to_string(r / shape.ranks_per_node));
  const Topology topology = Topology::FromNodeNames(nodes);
  const std::vector<uint32_t> speeds(static_cast<size_t>(shape.ranks), 1 << 16);
  std::vector<double> balance_us, own_us, node_us;
  std::vector<char> own(speeds.size()), node(speeds.size());
  for (int round = 0; round < rounds; ++round) {
    std::vector<int64_t> load;
    for (int e = 0; e < shape.experts; ++e)
      load.push_back(static_cast<int64_t>(8000 * std::exp(1.2 * rng.Normal())) + 1);
    const LayerTask task = UniformTask(std::move(load), shape.ranks, shape.slots, shape.ranks_per_node);
    LayerPlan layer;
    for (const std::vector<int>& row : SplitPackFilled(task, 7)) {
      layer.slots.emplace_back();
      for (int expert : row) layer.slots.back().push_back(expert == kNoExpert ? Slot() : ExpertId(expert));
    }
    CountMatrix counts(speeds.size(), std::vector<int64_t>(task.load.size()));
    std::vector<int64_t> tokens(task.load.size(), 0);
    for (size_t e = 0; e < tokens.size(); ++e) {
      const double drifted = static_cast<double>(task.load[e]) * std::exp(0.2 * rng.Normal());
      for (std::vector<int64_t>& row : counts) {
        row[e] = static_cast<int64_t>(drifted / shape.ranks * (0.9 + 0.2 * rng.Uniform()));
        tokens[e] += row[e];
      }
    }
    const Copies copies = Copies::Of(layer, shape.experts);
    const TokenSources sources{counts, topology};
    const double begin = Microseconds();
    const std::vector<int64_t> quotas = BalanceCopies(tokens, copies, speeds, &sources);
    balance_us.push_back(Microseconds() - begin);
    // Each round is another rank's.
    const Rank self(round % shape.ranks);
    own = AllToAlls().Find("direct").value()->Wanted(topology, self);
    node = AllToAlls().Find("two_level").value()->Wanted(topology, self);
    const auto measure = [&](const std::vector<char>& wanted, std::vector<double>& us) {
      const double start = Microseconds();
      const absl::StatusOr<Split> split =
          ComputeSplit(counts, layer, shape.experts, speeds, topology, wanted);
      BALLAST_CHECK_OK(split.status());
      const Route route = MakeRoute(*split, layer);
      us.push_back(Microseconds() - start);
      BALLAST_CHECK(route.host_rows[self.index()] == split->rank_tokens[self.index()]);
    };
    measure(own, own_us);
    measure(node, node_us);
  }
  std::printf("{\"experts\": %d, \"ranks\": %d, \"slots\": %d", shape.experts, shape.ranks, shape.slots);
  const auto print = [](const char* name, const std::vector<double>& us) {
    std::printf(", \"%s\": {\"p50\": %.1f, \"p99\": %.1f}", name, Percentile(us, 0.5), Percentile(us, 0.99));
  };
  print("division_us", balance_us);
  print("split_us", own_us);
  print("split_of_node_us", node_us);
  std::printf("}\n");
}

}  // namespace
}  // namespace ballast

int main(int argc, char** argv) {
  int rounds = 300;
  if (argc == 3 && std::strcmp(argv[1], "--rounds") == 0) {
    rounds = std::max(1, std::atoi(argv[2]));
  } else if (argc != 1) {
    std::fprintf(stderr, "usage: split_time [--rounds N]\n");
    return 2;
  }
  for (const ballast::Shape& shape : {ballast::Shape{8, 4, 3, 2}, ballast::Shape{64, 8, 10, 8},
                                      ballast::Shape{256, 64, 5, 8}, ballast::Shape{256, 64, 6, 8}})
    ballast::Measure(shape, rounds);
  return 0;
}
