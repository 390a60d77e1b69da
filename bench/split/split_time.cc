// How long the exact split and its route take that each rank computes for each microbatch and layer: what one
// rank needs with the direct all-to-all (its own rows and columns), with the two-level one (those of its
// node) and with rails (those of its rail, evened out).
//
//   split_time [--rounds N]
//
// Loads are log-normal (sigma 1.2) as a plan saw them; the split meets them after a drift of each by 20 %.
// Every round has other loads and another placement. "cold": after something else has had the caches of the
// core, "next": right behind another split of other loads, "warm": the least of ten of the same. The memory
// of the split before is kept, as a layer keeps it. Prints one line of JSON for each shape: medians and 99th
// percentiles in microseconds of CPU time.
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

// A placement and loads that have drifted since it was made.
struct Input {
  LayerPlan layer;
  CountMatrix counts;
};

Input Draw(const Shape& shape, Rng& rng) {
  Input input;
  std::vector<int64_t> load;
  for (int e = 0; e < shape.experts; ++e)
    load.push_back(static_cast<int64_t>(8000 * std::exp(1.2 * rng.Normal())) + 1);
  const LayerTask task = UniformTask(std::move(load), shape.ranks, shape.slots, shape.ranks_per_node);
  for (const std::vector<int>& row : SplitPackFilled(task, 7)) {
    input.layer.slots.emplace_back();
    for (int expert : row)
      input.layer.slots.back().push_back(expert == kNoExpert ? Slot() : ExpertId(expert));
  }
  input.counts.assign(static_cast<size_t>(shape.ranks), std::vector<int64_t>(task.load.size()));
  for (size_t e = 0; e < task.load.size(); ++e) {
    const double drifted = static_cast<double>(task.load[e]) * std::exp(0.2 * rng.Normal());
    for (std::vector<int64_t>& row : input.counts)
      row[e] = static_cast<int64_t>(drifted / shape.ranks * (0.9 + 0.2 * rng.Uniform()));
  }
  return input;
}

// Larger than the caches that a core has for itself.
void TakeCaches() {
  static std::vector<char> other(8 << 20);
  for (size_t i = 0; i < other.size(); i += 64) ++other[i];
}

struct Times {
  std::vector<double> cold, next, warm;
};

void Measure(const Shape& shape, int rounds) {
  constexpr int kWarmRuns = 10;
  Rng rng(1);
  std::vector<std::string> nodes;
  for (int r = 0; r < shape.ranks; ++r) nodes.push_back(std::to_string(r / shape.ranks_per_node));
  const Topology topology = Topology::FromNodeNames(nodes);
  const std::vector<uint32_t> speeds(static_cast<size_t>(shape.ranks), 1 << 16);
  SplitWorkspace work;
  Split split;
  Route route;
  Input other = Draw(shape, rng);
  Times direct, two_level, rails;
  for (int round = 0; round < rounds; ++round) {
    Input input = Draw(shape, rng);
    // Each round is another rank's.
    const Rank self(round % shape.ranks);
    const auto measure = [&](const char* all_to_all, Times& times) {
      input.layer.schedule.all_to_all = other.layer.schedule.all_to_all = all_to_all;
      const std::vector<char> wanted = AllToAlls().Find(all_to_all).value()->Wanted(topology, self);
      const auto run = [&](const Input& of) {
        const double start = Microseconds();
        BALLAST_CHECK_OK(
            ComputeRoute(of.counts, of.layer, shape.experts, speeds, topology, wanted, work, split, route));
        return Microseconds() - start;
      };
      TakeCaches();
      times.cold.push_back(run(input));
      BALLAST_CHECK(route.host_rows[self.index()] == split.rank_tokens[self.index()]);
      run(other);
      times.next.push_back(run(input));
      double least = run(input);
      for (int i = 1; i < kWarmRuns; ++i) least = std::min(least, run(input));
      times.warm.push_back(least);
    };
    measure("direct", direct);
    measure("two_level", two_level);
    measure(kRails, rails);
  }
  std::printf("{\"experts\": %d, \"ranks\": %d, \"slots\": %d", shape.experts, shape.ranks, shape.slots);
  const auto print = [](const char* name, const std::vector<double>& us) {
    std::printf(", \"%s_us\": {\"p50\": %.1f, \"p99\": %.1f}", name, Percentile(us, 0.5),
                Percentile(us, 0.99));
  };
  print("direct_cold", direct.cold);
  print("direct_next", direct.next);
  print("direct_warm", direct.warm);
  print("two_level_cold", two_level.cold);
  print("two_level_next", two_level.next);
  print("two_level_warm", two_level.warm);
  print("rails_cold", rails.cold);
  print("rails_next", rails.next);
  print("rails_warm", rails.warm);
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
