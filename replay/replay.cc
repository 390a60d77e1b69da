#include "replay/replay.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/rng.h"
#include "base/status_macros.h"
#include "coordinator/planner/layer/bounds.h"
#include "coordinator/planner/layer/exchange.h"
#include "coordinator/planner/layer/layer_strategy.h"
#include "coordinator/planner/layer/predictor_bank.h"
#include "coordinator/planner/layer/split_pack.h"
#include "plan/apportion.h"
#include "plan/balance.h"
#include "replay/layer_homes.h"
#include "replay/place.h"
#include "replay/reactions.h"

namespace ballast {
namespace {

// The first row says little (loads are near uniform before the gate has learnt anything), the second shows
// the skew: the first plan that knows so many rows may write as much as it likes.
constexpr int kBootRows = 2;
// Measured rows that a strategy sees.
constexpr size_t kRecent = 50;

// Everything a plan may depend on, per layer.
struct LayerState {
  PredictorBank bank;
  bool packed = false;                               // a plan was made after kBootRows rows or more
  std::deque<std::vector<int64_t>> recent;           // newest first
  SlotTable table;                                   // valid for the task, but for ranks that should be empty
  std::vector<std::vector<uint32_t>> fractions;      // empty: the exact split
  bool named_shares = false;                         // `fractions` are the strategy's own
  std::vector<std::vector<Rank>> hosts;              // of `table`
  std::vector<std::vector<int64_t>> host_fractions;  // [expert][host] the same shares
};

class Replayer {
 public:
  Replayer(const LoadTrace& trace, const ReplayOptions& options, LayerStrategyPtr strategy, LayerTask shape)
      : trace_(trace), options_(options), strategy_(std::move(strategy)), shape_(std::move(shape)) {
    all_speeds_ = std::accumulate(shape_.speeds.begin(), shape_.speeds.end(), 0.0);
    if (options.telemetry != nullptr) {
      std::optional<double> port_share;
      if (options.costs) port_share = options.costs->PortShare();
      reactions_.emplace(*options.telemetry, shape_, port_share);
    }
    start_ = ContiguousTable(shape_);
    start_hosts_ = HostsOf(start_, trace.experts());
    for (int l = 0; l < trace.layers(); ++l) {
      LayerState state{PredictorBank(trace.experts(), options.every), false, {}, {}, {}, false, {}, {}};
      layers_.push_back(std::move(state));
      Adopt({start_, SharesOf(shape_, {start_, {}})}, false, 0, l);
    }
    if (options.costs && options.costs->model == CostModel::kHome)
      homes_.assign(layers_.size(), LayerHomes(start_, trace.experts(), shape_.node_of_rank, LinkCosts(1)));
    totals_.resize(layers_.size());
    result_.imbalance.resize(layers_.size());
    result_.slot_writes.resize(layers_.size());
    writes_now_.assign(layers_.size(), 0);
  }

  ReplayResult Run() {
    std::vector<double> plan_ms;
    for (int step = 0; step < trace_.steps(); ++step) {
      if (step > 0) Observe(PastLoads(trace_, step));
      const auto wanted = step > 0 ? ObserveTimes(step) : Reactions::Wanted::kNothing;
      if (wanted == Reactions::Wanted::kSplit) SplitAnew(step);
      if (step > 0 && (wanted == Reactions::Wanted::kPlan || step % options_.every == 0)) {
        const double before = options_.milliseconds ? options_.milliseconds() : 0;
        for (int l = 0; l < trace_.layers(); ++l) PlanLayer(step, l);
        if (options_.milliseconds) plan_ms.push_back(options_.milliseconds() - before);
      }
      if (step >= options_.from) {
        for (int l = 0; l < trace_.layers(); ++l) Score(step, l);
      }
      FollowWithHomes(step);
    }
    Finish(plan_ms);
    if (reactions_) {
      reactions_->ObserveBefore(trace_.steps(), shape_);
      result_.slow = reactions_->taken();
    }
    return std::move(result_);
  }

 private:
  struct Totals {  // of one layer, tokens
    double mean = 0, busiest = 0, unmoved = 0, oracle = 0, with_replicas = 0, no_replicas = 0;
  };

  void Observe(const PastLoads& past) {
    for (int l = 0; l < trace_.layers(); ++l) {
      LayerState& layer = layers_[l];
      layer.recent.push_front(past.Sample(l, 1));
      if (layer.recent.size() > kRecent) layer.recent.pop_back();
      layer.bank.Observe(layer.recent.front());
    }
  }

  Reactions::Wanted ObserveTimes(int step) {
    if (!reactions_) return Reactions::Wanted::kNothing;
    const Reactions::Wanted wanted = reactions_->ObserveBefore(step, shape_);
    if (wanted == Reactions::Wanted::kNothing) return wanted;
    all_speeds_ = std::accumulate(shape_.speeds.begin(), shape_.speeds.end(), 0.0);
    for (LayerState& layer : layers_) {
      for (size_t g = 0; g < layer.table.size(); ++g) {
        // Experts that are still on a rank without slots stay until a plan moves them.
        std::vector<int>& row = layer.table[g];
        const bool empty =
            std::all_of(row.begin(), row.end(), [](int expert) { return expert == kNoExpert; });
        if (shape_.slots[g] == 0 && !empty) continue;
        row.resize(static_cast<size_t>(shape_.slots[g]), kNoExpert);
        if (!layer.fractions.empty()) layer.fractions[g].resize(row.size(), 0);
      }
    }
    for (size_t l = 0; l < homes_.size(); ++l) homes_[l].SetSlowdowns(reactions_->port_slowdowns());
    return wanted;
  }

  // Slots stay; fixed shares are what the speeds of now make of the forecast.
  void SplitAnew(int step) {
    if (options_.split != ReplaySplit::kFractions) return;
    for (int l = 0; l < trace_.layers(); ++l) {
      const LayerState& layer = layers_[l];
      if (layer.named_shares) continue;
      LayerTask task = shape_;
      task.load = layer.bank.Forecast();
      auto fractions = SharesOf(task, {layer.table, {}});
      if (fractions != layer.fractions) Adopt({layer.table, std::move(fractions)}, false, step, l);
    }
  }

  std::vector<double> PortSlowdowns() const {
    return reactions_ ? reactions_->port_slowdowns() : std::vector<double>();
  }

  void PlanLayer(int step, int l) {
    LayerState& layer = layers_[l];
    LayerTask task = shape_;
    task.load = layer.bank.Forecast();
    const std::vector<std::vector<int64_t>> recent(layer.recent.begin(), layer.recent.end());
    const double tokens =
        static_cast<double>(std::accumulate(recent.front().begin(), recent.front().end(), int64_t{0}));
    LayerView view{task, layer.table, recent, Costs(task, tokens),
                   layer.bank.observed() >= kBootRows && !layer.packed};
    layer.packed = layer.packed || view.pack_anew;
    view.ports.slowdowns = PortSlowdowns();
    std::optional<HomePricing> pricing;
    if (!homes_.empty()) {
      pricing = HomePricing{homes_[l].homes(), LinkCosts(options_.costs->iterations_per_step)};
      view.costs.homes = &*pricing;
    }
    view.writes_max = options_.writes_max;
    view.evaluations_max = options_.evaluations_max;
    view.seed = HashSeed({options_.seed, static_cast<uint64_t>(step), static_cast<uint64_t>(l)});
    view.together = PairsOfLayer(options_.together, static_cast<size_t>(l));
    if (options_.sequences) view.sources = &SourcesOfLayer(*options_.sequences, static_cast<size_t>(l));
    std::optional<LayerChoice> choice = strategy_->Choose(view);
    if (!choice) return;
    const absl::Status valid = CheckTable(task, choice->table);
    BALLAST_CHECK(valid.ok()) << options_.strategy << ", step " << step << ", layer " << l << ": " << valid;
    const bool named_shares = options_.split == ReplaySplit::kFractions && !choice->fractions.empty();
    choice->fractions = SharesOf(task, *choice);
    if (choice->table == layer.table && choice->fractions == layer.fractions) return;
    const int writes = CountWrites(layer.table, choice->table);
    if (!view.pack_anew && step > kBootRows)
      result_.figures.writes_max = std::max(result_.figures.writes_max, writes);
    if (step >= options_.from) {
      writes_now_[l] = writes;
      LayerFigures& figures = result_.figures.layers[l];
      figures.slot_writes += writes;
      figures.replans += choice->table != layer.table;
      if (options_.costs && options_.costs->model == CostModel::kRing) {
        hours_.migration +=
            BusiestTraffic(layer.table, choice->table) * options_.costs->WriteSeconds() / 3600;
      }
    }
    Adopt(*std::move(choice), named_shares, step, l);
  }

  // The shares that figures are counted with; nothing where each microbatch is split exactly.
  std::vector<std::vector<uint32_t>> SharesOf(const LayerTask& task, const LayerChoice& choice) const {
    if (options_.split == ReplaySplit::kExact) return {};
    if (options_.split == ReplaySplit::kFractions && !choice.fractions.empty()) return choice.fractions;
    // What the exact split would give each slot of the forecast; where there is no load slots get equal
    // shares.
    const std::vector<int64_t>& load = options_.split == ReplaySplit::kEven ? shape_.load : task.load;
    return FractionsOf(choice.table,
                       BalanceExactly(load, HostsOf(choice.table, task.experts()), task.speeds));
  }

  LayerCosts Costs(const LayerTask& task, double tokens) const {
    LayerCosts costs = RelativeCosts(task, 0, options_.write_cost);
    costs.ports.slowdowns = PortSlowdowns();
    if (!options_.costs) return costs;
    const double total = static_cast<double>(std::max<int64_t>(1, task.total_load()));
    costs.load = options_.costs->SecondsPerToken() * options_.costs->iterations_per_step * tokens / total;
    costs.sync = options_.costs->SyncSeconds();
    costs.write = options_.costs->WriteSeconds();
    return costs;
  }

  // The most slots that one rank receives or sends, times its port's slowdown. A slot comes from the expert's
  // host that has sent least.
  double BusiestTraffic(const SlotTable& from, const SlotTable& to) const {
    std::vector<int> in(to.size(), 0), out(to.size(), 0);
    for (size_t g = 0; g < to.size(); ++g) {
      for (int e : to[g]) {
        if (e == kNoExpert || Holds(from[g], e)) continue;
        ++in[g];
        int source = -1;
        for (size_t h = 0; h < from.size(); ++h) {
          if (Holds(from[h], e) && (source < 0 || out[h] < out[source])) source = static_cast<int>(h);
        }
        ++out[source];
      }
    }
    const std::vector<double> slow = PortSlowdowns();
    double most = 0;
    for (size_t g = 0; g < to.size(); ++g)
      most = std::max(most, std::max(in[g], out[g]) * (slow.empty() ? 1 : slow[g]));
    return most;
  }

  void Adopt(LayerChoice choice, bool named_shares, int step, int l) {
    LayerState& layer = layers_[l];
    layer.named_shares = named_shares;
    layer.table = std::move(choice.table);
    layer.fractions = std::move(choice.fractions);
    layer.hosts = HostsOf(layer.table, trace_.experts());
    layer.host_fractions.assign(layer.hosts.size(), {});
    for (size_t g = 0; g < layer.fractions.size(); ++g) {
      for (size_t i = 0; i < layer.table[g].size(); ++i) {
        const int e = layer.table[g][i];
        if (e != kNoExpert) layer.host_fractions[e].push_back(layer.fractions[g][i]);
      }
    }
    if (options_.plan_made) options_.plan_made({step, l, layer.table, layer.fractions});
    if (result_.figures.layers.size() <= static_cast<size_t>(l)) result_.figures.layers.emplace_back();
  }

  double BusiestTokens(const std::vector<int64_t>& tokens, const std::vector<std::vector<Rank>>& hosts,
                       const std::vector<std::vector<int64_t>>* fractions) const {
    std::vector<int64_t> ranks;
    if (fractions) {
      Quotas quotas;
      for (size_t e = 0; e < tokens.size(); ++e) quotas.push_back(Apportion(tokens[e], (*fractions)[e]));
      ranks = RankTokens(quotas, hosts, options_.ranks);
    } else {
      ranks = RankTokens(BalanceExactly(tokens, hosts, shape_.speeds), hosts, options_.ranks);
    }
    double busiest = 0;  // over its speed
    for (size_t g = 0; g < ranks.size(); ++g)
      busiest = std::max(busiest, static_cast<double>(ranks[g]) * kHealthySpeed / shape_.speeds[g]);
    return busiest;
  }

  void Score(int step, int l) {
    const LayerState& layer = layers_[l];
    Totals& totals = totals_[l];
    const bool exact = options_.split == ReplaySplit::kExact;
    std::vector<std::vector<Rank>> oracle_hosts;
    LayerTask now = shape_;
    if (options_.oracle) {
      now.load = trace_.Sample(step, l);
      oracle_hosts = HostsOf(OracleTable(now), trace_.experts());
    }
    double busiest = 0, mean = 0;
    for (int m = 0; m < trace_.microbatches(); ++m) {
      now.load = trace_.Microbatch(step, l, m);
      mean += static_cast<double>(now.total_load()) * kHealthySpeed / all_speeds_;
      busiest += BusiestTokens(now.load, layer.hosts, exact ? nullptr : &layer.host_fractions);
      totals.unmoved += BusiestTokens(now.load, start_hosts_, nullptr);
      if (!options_.oracle) continue;
      totals.oracle += BusiestTokens(now.load, oracle_hosts, nullptr);
      totals.with_replicas += SlotBound(now) * 65536;
      totals.no_replicas += NoReplicaBound(now) * 65536;
    }
    totals.mean += mean;
    totals.busiest += busiest;
    result_.imbalance[l].push_back(mean > 0 ? busiest / mean : 1);
    result_.slot_writes[l].push_back(std::exchange(writes_now_[l], 0));
    if (!options_.costs) return;
    hours_.step += busiest * options_.costs->SecondsPerToken() * options_.costs->iterations_per_step / 3600;
    if (homes_.empty()) {
      hours_.sync +=
          SyncSlots(layer.table, trace_.experts(), PortSlowdowns()) * options_.costs->SyncSeconds() / 3600;
    } else {
      hours_.sync += homes_[l].SyncSeconds(layer.table) * options_.costs->iterations_per_step / 3600;
    }
  }

  // In seconds; weights and gradients of so many training iterations.
  HomeCosts LinkCosts(double iterations) const {
    const ReplayCosts& costs = *options_.costs;
    return {1 / (costs.nic_gbs * 1e9),
            1 / (costs.nvlink_gbs * 1e9),
            iterations * costs.weight_mb * 1e6,
            costs.state_mb * 1e6,
            0,
            PortSlowdowns()};
  }

  // Behind a row: homes move to where their slots have been for long enough.
  void FollowWithHomes(int step) {
    for (size_t l = 0; l < homes_.size(); ++l) {
      const double seconds = homes_[l].Follow(layers_[l].table, options_.costs->iterations_per_step);
      if (step >= options_.from) hours_.migration += seconds / 3600;
    }
  }

  SlotTable OracleTable(const LayerTask& task) const {
    if (task.spare_slots() > 0) return SplitPack(task);
    return Exchange(task, LongestFirst(task, nullptr), ExchangeOptions());
  }

  void Finish(std::vector<double>& plan_ms) {
    ReplayFigures& figures = result_.figures;
    Totals sum;
    for (size_t l = 0; l < totals_.size(); ++l) {
      const Totals& t = totals_[l];
      if (t.mean > 0) figures.layers[l].max_over_mean = t.busiest / t.mean;
      figures.slot_writes_per_layer += figures.layers[l].slot_writes;
      figures.replans_per_layer += figures.layers[l].replans;
      sum.mean += t.mean;
      sum.busiest += t.busiest;
      sum.unmoved += t.unmoved;
      sum.oracle += t.oracle;
      sum.with_replicas += t.with_replicas;
      sum.no_replicas += t.no_replicas;
    }
    const double layers = static_cast<double>(totals_.size());
    figures.slot_writes_per_layer /= layers;
    figures.replans_per_layer /= layers;
    auto over_mean = [&](double tokens) { return sum.mean > 0 ? tokens / sum.mean : 1; };
    figures.max_over_mean = over_mean(sum.busiest);
    figures.static_max_over_mean = over_mean(sum.unmoved);
    if (options_.oracle) {
      figures.oracle_max_over_mean = over_mean(sum.oracle);
      figures.bound_with_replicas = over_mean(sum.with_replicas);
      figures.bound_no_replicas = over_mean(sum.no_replicas);
      if (sum.unmoved > sum.oracle) {
        figures.share_of_oracle_gain = (sum.unmoved - sum.busiest) / (sum.unmoved - sum.oracle);
      }
    }
    if (options_.costs) figures.hours = hours_;
    for (const LayerState& layer : layers_) result_.last.push_back(layer.table);
    if (!plan_ms.empty()) {
      std::sort(plan_ms.begin(), plan_ms.end());
      figures.plan_ms_p50 = plan_ms[plan_ms.size() / 2];
      figures.plan_ms_p99 = plan_ms[plan_ms.size() * 99 / 100];
    }
  }

  const LoadTrace& trace_;
  const ReplayOptions& options_;
  const LayerStrategyPtr strategy_;
  LayerTask shape_;  // without load
  SlotTable start_;
  std::vector<std::vector<Rank>> start_hosts_;
  double all_speeds_ = 0;
  std::optional<Reactions> reactions_;
  std::vector<LayerState> layers_;
  std::vector<LayerHomes> homes_;  // [layer]; empty unless they cost
  std::vector<Totals> totals_;
  std::vector<int> writes_now_;  // [layer] made by the plan of the present row
  Hours hours_;
  ReplayResult result_;
};

}  // namespace

absl::StatusOr<ReplayResult> Replay(const LoadTrace& trace, const ReplayOptions& options) {
  BALLAST_RETURN_IF_ERROR(CheckReplayOptions(trace, options));
  BALLAST_ASSIGN_OR_RETURN(LayerStrategyPtr strategy, LayerStrategies().Find(options.strategy));
  const int per_node = options.ranks_per_node > 0 ? options.ranks_per_node : options.ranks;
  LayerTask shape = UniformTask(std::vector<int64_t>(static_cast<size_t>(trace.experts()), 0), options.ranks,
                                options.slots, per_node);
  BALLAST_RETURN_IF_ERROR(FitSlots(shape, static_cast<size_t>(trace.layers())));
  return Replayer(trace, options, std::move(strategy), std::move(shape)).Run();
}

}  // namespace ballast
