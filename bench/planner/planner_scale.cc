// The planner on generated loads: how near the bound a full plan is, how long plans take, and how few writes
// follow drift. Log-normal loads of 256 experts, 60 layers, one thread.
//
//   planner_scale [--rounds N]    of the times; default 20 on 64 ranks, a quarter of it on 1,024
//
// Prints lines of JSON, {"name", "value", ...}; times in milliseconds of CPU time for all 60 layers.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/rng.h"
#include "bench/planner/cpu_time.h"
#include "coordinator/planner/layer/bounds.h"
#include "coordinator/planner/layer/flow_repair.h"
#include "coordinator/planner/layer/predictor_bank.h"
#include "coordinator/planner/layer/split_pack.h"
#include "plan/plan.h"

namespace ballast {
namespace {

constexpr int kExperts = 256;
constexpr int kLayers = 60;

// exp(sigma * x), where x follows an Ornstein-Uhlenbeck process.
class Loads {
 public:
  Loads(Rng& rng, double sigma) : sigma_(sigma) {
    for (int e = 0; e < kExperts; ++e) log_.push_back(sigma * rng.Normal());
  }
  // Correlation .98 with the step before; `burst` triples one expert.
  void Drift(Rng& rng, bool burst) {
    for (double& x : log_) x = 0.98 * x + std::sqrt(1 - 0.98 * 0.98) * sigma_ * rng.Normal();
    if (burst) log_[17] += std::log(3.0);
  }
  std::vector<int64_t> tokens() const {
    std::vector<int64_t> tokens;
    for (double x : log_) tokens.push_back(static_cast<int64_t>(1e6 * std::exp(x)));
    return tokens;
  }

 private:
  const double sigma_;
  std::vector<double> log_;
};

// P5: the worst gap over seeds and layers.
void Gap(int ranks, int slots, double sigma) {
  double worst = 1;
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    Rng rng(seed);
    for (int layer = 0; layer < kLayers; ++layer) {
      const LayerTask task = UniformTask(Loads(rng, sigma).tokens(), ranks, slots, 8);
      worst = std::max(worst, PlacedBound(task, SplitPack(task)) / SlotBound(task));
    }
  }
  std::printf("{\"name\": \"gap\", \"ranks\": %d, \"slots\": %d, \"sigma\": %.1f, \"value\": %.6f}\n", ranks,
              slots, sigma, worst - 1);
}

// P7: means over seeds and layers.
void DriftFigures() {
  double after = 0, writes = 0;
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    Rng rng(seed);
    for (int layer = 0; layer < kLayers; ++layer) {
      Loads loads(rng, 0.8);
      LayerTask task = UniformTask(loads.tokens(), 64, 5, 8);
      const SlotTable start = SplitPackFilled(task, seed);
      loads.Drift(rng, layer % 10 == 0);
      task.load = loads.tokens();
      const Repair repair = FlowRepair(task, start, {.writes_max = 8});
      after += PlacedBound(task, repair.table) / SlotBound(task) / (5 * kLayers);
      writes += static_cast<double>(repair.writes) / (5 * kLayers);
    }
  }
  std::printf("{\"name\": \"drift\", \"ranks\": 64, \"slots\": 5, \"value\": %.4f, \"writes\": %.2f}\n",
              after, writes);
}

void PrintTime(const char* name, int ranks, int slots, std::vector<double> ms) {
  std::sort(ms.begin(), ms.end());
  std::printf("{\"name\": \"%s\", \"ranks\": %d, \"slots\": %d, \"p50\": %.2f, \"p99\": %.2f}\n", name, ranks,
              slots, ms[ms.size() / 2], ms[ms.size() * 99 / 100]);
}

// P6: a full plan; a bounded re-plan after drift; and, from measured counts to the bytes of a plan, forecast,
// re-plan and encoding.
void Times(int ranks, int slots, double sigma, int rounds) {
  std::vector<double> full, repair, whole;
  for (int round = 0; round < rounds; ++round) {
    Rng rng(static_cast<uint64_t>(round) + 1);
    std::vector<Loads> loads;
    std::vector<LayerTask> tasks;
    std::vector<PredictorBank> banks;
    for (int layer = 0; layer < kLayers; ++layer) {
      loads.emplace_back(rng, sigma);
      tasks.push_back(UniformTask(loads.back().tokens(), ranks, slots, 8));
      banks.emplace_back(kExperts, 1);
      banks.back().Observe(tasks.back().load);
    }
    std::vector<SlotTable> tables;
    const double begin = Milliseconds();
    for (int layer = 0; layer < kLayers; ++layer)
      tables.push_back(SplitPackFilled(tasks[layer], static_cast<uint64_t>(layer)));
    full.push_back(Milliseconds() - begin);

    std::vector<std::vector<int64_t>> measured;
    for (int layer = 0; layer < kLayers; ++layer) {
      loads[layer].Drift(rng, layer % 10 == 0);
      measured.push_back(loads[layer].tokens());
    }
    for (int layer = 0; layer < kLayers; ++layer) tasks[layer].load = measured[layer];
    const double middle = Milliseconds();
    int writes = 0;
    for (int layer = 0; layer < kLayers; ++layer)
      writes += FlowRepair(tasks[layer], tables[layer], {.writes_max = 8}).writes;
    repair.push_back(Milliseconds() - middle);

    const double last = Milliseconds();
    Plan plan;
    for (int layer = 0; layer < kLayers; ++layer) {
      banks[layer].Observe(measured[layer]);
      LayerTask& task = tasks[layer];
      task.load = banks[layer].Forecast();
      LayerPlan& to = plan.body.layers.emplace_back();
      to.slots = SlotsOf(FlowRepair(task, tables[layer], {.writes_max = 8}).table);
    }
    plan.body.speeds.assign(static_cast<size_t>(ranks), 1 << 16);
    const std::string bytes = CanonicalBytes(plan);
    whole.push_back(Milliseconds() - last);
    BALLAST_CHECK(writes > 0 && !bytes.empty());
  }
  PrintTime("full_plan", ranks, slots, full);
  PrintTime("re_plan", ranks, slots, repair);
  PrintTime("counts_to_bytes", ranks, slots, whole);
}

}  // namespace
}  // namespace ballast

int main(int argc, char** argv) {
  int rounds = 20;
  if (argc == 3 && std::strcmp(argv[1], "--rounds") == 0) {
    rounds = std::max(4, std::atoi(argv[2]));
  } else if (argc != 1) {
    std::fprintf(stderr, "usage: planner_scale [--rounds N]\n");
    return 2;
  }
  for (const double sigma : {0.4, 0.8, 1.2}) {
    ballast::Gap(64, 5, sigma);
    ballast::Gap(64, 6, sigma);
    ballast::Gap(1024, 2, sigma);
  }
  ballast::DriftFigures();
  ballast::Times(64, 5, 0.8, rounds);
  ballast::Times(64, 6, 1.2, rounds);
  ballast::Times(1024, 2, 0.8, rounds / 4);
  ballast::Times(1024, 3, 1.2, rounds / 4);
  return 0;
}
