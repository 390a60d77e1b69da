// What a whole look of `auto` takes, as the live coordinator makes it: 60 layers of 256 experts whose loads
// drift.
//
//   auto_look [--looks N] [--budget N]    looks behind the first one, 20 and, on 1,024 ranks, 5;
//                                         placements of a search, 20,000
//
// Prints lines of JSON, {"name", "value", ...}; times in milliseconds of CPU time, one thread. A look begins
// with the first plan, which packs anew; later ones start from where the one before has led, eight ranks to a
// node, with prices of links as measured (homes, and tokens over ports). Candidates are timed one by one on
// one layer of the last look.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/rng.h"
#include "bench/planner/cpu_time.h"
#include "coordinator/planner/accept.h"
#include "coordinator/planner/explain_layer.h"
#include "coordinator/planner/home_prices.h"
#include "coordinator/planner/layer/flow_repair.h"
#include "coordinator/planner/layer/node_ports.h"
#include "coordinator/planner/layer/relabel.h"
#include "coordinator/planner/layer/split_pack.h"
#include "coordinator/planner/register.h"
#include "plan/contiguous.h"
#include "plan/diff.h"

namespace ballast {
namespace {

constexpr int kExperts = 256, kLayers = 60, kRanksPerNode = 8;
constexpr double kSigma = 0.8;
constexpr int kStepsBetween = 10;

JobConfig Job(int ranks, int slots) {
  JobConfig job;
  job.name = JobId("look");
  job.model.vocabulary_size = 1024;
  job.model.hidden_size = 2048;
  job.model.layers = kLayers;
  job.model.attention_heads = 16;
  job.model.key_value_heads = 16;
  job.model.head_size = 128;
  job.model.moe.experts = kExperts;
  job.model.moe.top_k = 8;
  job.model.moe.intermediate_size = 1024;
  job.placement.ranks = ranks;
  job.placement.slots_per_rank = slots;
  job.placement.block_elements = int64_t{1} << 21;  // a matrix of an expert
  job.planner.strategy = "auto";
  job.planner.plan_every_steps = kStepsBetween;
  return job;
}

class Look {
 public:
  Look(int ranks, int slots, int64_t budget)
      : job_(Job(ranks, slots)),
        layout_(*ParameterLayout::Make(job_.model, job_.placement.block_elements)),
        limits_(LimitsFor(job_, layout_, ranks)),
        history_(job_.planner, kLayers, kExperts),
        current_(*ContiguousPlan(job_, layout_, ranks)),
        budget_(budget) {
    std::vector<std::string> names;
    for (int r = 0; r < ranks; ++r) names.push_back("n" + std::to_string(r / kRanksPerNode));
    topology_ = Topology::FromNodeNames(names);
    for (int i = 0; i < kLayers * kExperts; ++i) log_.push_back(kSigma * rng_.Normal());
  }

  void Run(int looks) {
    std::vector<double> times;
    double first = 0, placements = 0;
    int plans = 0, writes = 0;
    for (int i = 0; i <= looks; ++i) {
      for (int s = 0; s < kStepsBetween; ++s) Drift();
      const PlanInput input = Input();
      const double begin = Milliseconds();
      const auto decision = Decide(Planners(), input);
      const double ms = Milliseconds() - begin;
      BALLAST_CHECK_OK(decision.status());
      (i == 0 ? first : times.emplace_back()) = ms;
      if (i > 0) placements += static_cast<double>(decision->explanation.evaluations) / looks;
      if (decision->body) {
        if (i > 0) {
          ++plans;
          writes += static_cast<int>(Diff(current_, *decision->body, layout_).slot_writes.size());
        }
        current_ = *decision->body;
        active_since_ = Step(step_);
      }
    }
    std::sort(times.begin(), times.end());
    const auto n = times.size();
    std::printf(
        "{\"name\": \"auto_look\", \"ranks\": %d, \"slots\": %d, \"budget\": %ld, \"first_ms\": %.1f, "
        "\"p50_ms\": "
        "%.1f, \"p99_ms\": %.1f, \"looks\": %zu, \"placements\": %.0f, \"plans\": %d, \"writes\": %d}\n",
        limits_.ranks, limits_.slots_per_rank, static_cast<long>(budget_), first, times[n / 2],
        times[std::min(n - 1, n * 99 / 100)], n, placements, plans, writes);
    std::fflush(stdout);
  }

  // What single candidates take of one layer, in the order in which auto makes them.
  void Candidates(int rounds) {
    const PlanInput input = Input();
    const StepLoad& newest = history_.samples().back();
    const LayerTask task = TaskOf(input, newest.tokens[0]);
    const SlotTable current = TableOf(current_.layers[0]);
    std::vector<std::vector<int64_t>> recent;
    for (auto sample = history_.samples().rbegin(); sample != history_.samples().rend(); ++sample)
      recent.push_back(sample->tokens[0]);
    LayerCosts costs = RelativeCosts(task, 0.002, 0.02);
    const auto pricing = HomePricingOf(input, 0, RowCost(input, 0));
    costs.homes = &*pricing;
    const PortCosts ports{input.port_cost, {}};
    costs.ports = ports;
    costs.ports.port *= costs.load;
    const auto cost = [&](const SlotTable& table) {
      return WeighParts(task, recent, 5, current, table, costs).total();
    };
    const auto time = [&](const char* name, const std::function<int64_t()>& run) {
      std::vector<double> times;
      int64_t placements = 0;
      for (int i = 0; i < rounds; ++i) {
        const double begin = Milliseconds();
        placements = run();
        times.push_back(Milliseconds() - begin);
      }
      std::sort(times.begin(), times.end());
      std::printf(
          "{\"name\": \"candidate\", \"of\": \"%s\", \"ranks\": %d, \"slots\": %d, \"p50_ms\": %.3f, "
          "\"p99_ms\": "
          "%.3f, \"placements\": %ld}\n",
          name, limits_.ranks, limits_.slots_per_rank, times[times.size() / 2], times.back(),
          static_cast<long>(placements));
      std::fflush(stdout);
    };
    time("J of a placement", [&] { return cost(current) > 0 ? 1 : 0; });
    time("fewer copies", [&] {
      int64_t left = budget_;
      DropCostly(task, current, costs, cost, left);
      return budget_ - left;
    });
    for (const double headroom : {1.01, 1.2}) {
      RepairOptions options;
      options.headroom = headroom;
      time(headroom < 1.1 ? "flow_repair to 1.01" : "flow_repair to 1.20", [&] {
        FlowRepair(task, current, options);
        return 0;
      });
    }
    time("tokens and ports", [&] {
      const int64_t budget = std::min<int64_t>(budget_, 600);
      int64_t left = budget;
      BalancePorts(task, current, ports, left);
      return budget - std::max<int64_t>(0, left);
    });
    time("splitpack, all slots", [&] {
      Relabel(task, current, SplitPackFilled(task, 1), false);
      return 0;
    });
    time("splitpack + 5 %", [&] {
      Relabel(task, current, SplitPack(task, 0.05), false);
      return 0;
    });
  }

 private:
  void Drift() {
    StepLoad load{Step(++step_), {}};
    for (int l = 0; l < kLayers; ++l) {
      std::vector<int64_t>& tokens = load.tokens.emplace_back();
      for (int e = 0; e < kExperts; ++e) {
        double& x = log_[static_cast<size_t>(l * kExperts + e)];
        x = 0.998 * x + std::sqrt(1 - 0.998 * 0.998) * kSigma * rng_.Normal();
        tokens.push_back(static_cast<int64_t>(1e5 * std::exp(x + 0.02 * rng_.Normal())));
      }
    }
    BALLAST_CHECK_OK(history_.Observe(load));
  }

  PlanInput Input() const {
    PlanInput input{.layout = layout_,
                    .limits = limits_,
                    .topology = topology_,
                    .config = job_.planner,
                    .history = history_,
                    .current = current_,
                    .speeds = current_.speeds,
                    .now = Step(step_),
                    .active_since = active_since_};
    // 45 GB/s of a port, 300 inside, 300 TFLOP/s: of a row, forward and backward.
    const double row = 18.0 * 2048 * 1024 / 300e12;
    input.nic_byte_cost = 1 / 45e9 / row;
    input.node_byte_cost = 1 / 300e9 / row;
    input.element_bytes = 2;
    input.port_cost = 4 * 2 * 2048 * input.nic_byte_cost;
    input.evaluations_max = budget_;
    return input;
  }

  Rng rng_{5};
  const JobConfig job_;
  const ParameterLayout layout_;
  const PlanLimits limits_;
  Topology topology_;
  LoadHistory history_;
  PlanBody current_;
  const int64_t budget_;
  std::vector<double> log_;
  int64_t step_ = 0;
  Step active_since_;
};

void Measure(int ranks, int slots, int looks, int64_t budget) {
  Look look(ranks, slots, budget);
  look.Run(looks);
  look.Candidates(std::max(3, looks / 2));
}

}  // namespace
}  // namespace ballast

int main(int argc, char** argv) {
  int looks = 20;
  int64_t budget = ballast::kPlacementsMax;
  for (int i = 1; i < argc; i += 2) {
    const bool has_value = i + 1 < argc;
    if (has_value && std::strcmp(argv[i], "--looks") == 0) {
      looks = std::max(1, std::atoi(argv[i + 1]));
    } else if (has_value && std::strcmp(argv[i], "--budget") == 0) {
      budget = std::max(1, std::atoi(argv[i + 1]));
    } else {
      std::fprintf(stderr, "usage: auto_look [--looks N] [--budget N]\n");
      return 2;
    }
  }
  ballast::Measure(64, 5, looks, budget);
  ballast::Measure(1024, 2, std::max(1, looks / 4), budget);
  return 0;
}
