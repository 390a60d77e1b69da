#include "plan/carry_over.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/math.h"
#include "base/status_macros.h"

namespace ballast {
namespace {

constexpr uint32_t kHealthy = uint32_t{1} << 16;

// One layer's slots on the new ranks, while experts find their place.
class LayerSlots {
 public:
  LayerSlots(std::vector<std::vector<Slot>> slots, const std::vector<int64_t>& loads,
             const std::vector<uint32_t>& speeds)
      : slots_(std::move(slots)), loads_(loads), speeds_(speeds), copies_(loads.size(), 0) {
    for (const std::vector<Slot>& rank : slots_) {
      for (const Slot& slot : rank) {
        if (slot.has_value()) ++copies_[slot->index()];
      }
    }
  }

  // False when there is no room.
  bool HouseAll() {
    std::vector<int> homeless;
    for (size_t e = 0; e < copies_.size(); ++e) {
      if (copies_[e] == 0) homeless.push_back(static_cast<int>(e));
    }
    std::stable_sort(homeless.begin(), homeless.end(), [&](int a, int b) { return loads_[a] > loads_[b]; });
    for (int expert : homeless) {
      if (!HasFree() && !GiveUpCopy()) return false;
      Place(expert, LeastLoaded());
    }
    return true;
  }

  // `rank` is new.
  void TakeShare(size_t rank) {
    const int held = std::accumulate(copies_.begin(), copies_.end(), 0);
    const auto share = static_cast<int64_t>(static_cast<size_t>(held) / slots_.size());
    while (Filled(rank) < share && Free(rank) != nullptr) {
      size_t donor = rank;
      for (size_t r = 0; r < slots_.size(); ++r) {
        if (Filled(r) > share && LoadOf(r) > LoadOf(donor)) donor = r;
      }
      // The one that leaves both nearest to each other, and the donor not below the other.
      const double gap = LoadOf(donor) - LoadOf(rank);
      Slot* best = nullptr;
      for (Slot& slot : slots_[donor]) {
        if (!slot.has_value() || Holds(rank, *slot)) continue;
        if (Part(*slot) / Speed(donor) + Part(*slot) / Speed(rank) > gap) continue;
        if (best == nullptr || Part(*slot) > Part(**best)) best = &slot;
      }
      if (donor == rank || best == nullptr) return;
      *Free(rank) = std::exchange(*best, std::nullopt);
    }
  }

  std::vector<std::vector<Slot>> Take() { return std::move(slots_); }

 private:
  // Of the expert's tokens at each of its slots.
  double Part(ExpertId expert) const {
    return static_cast<double>(loads_[expert.index()]) / std::max(1, copies_[expert.index()]);
  }
  double Speed(size_t rank) const { return static_cast<double>(speeds_[rank]); }
  double LoadOf(size_t rank) const {
    double sum = 0;
    for (const Slot& slot : slots_[rank]) sum += slot.has_value() ? Part(*slot) : 0;
    return sum / Speed(rank);
  }
  int64_t Filled(size_t rank) const {
    return std::count_if(slots_[rank].begin(), slots_[rank].end(),
                         [](const Slot& s) { return s.has_value(); });
  }
  bool Holds(size_t rank, ExpertId expert) const {
    return std::find(slots_[rank].begin(), slots_[rank].end(), Slot(expert)) != slots_[rank].end();
  }
  Slot* Free(size_t rank) {
    const auto free = std::find(slots_[rank].begin(), slots_[rank].end(), std::nullopt);
    return free == slots_[rank].end() ? nullptr : &*free;
  }
  bool HasFree() {
    for (size_t r = 0; r < slots_.size(); ++r) {
      if (Free(r) != nullptr) return true;
    }
    return false;
  }
  // Of those with a free slot; loads that are equal (none known, say) go by what is held.
  size_t LeastLoaded() {
    std::optional<size_t> best;
    for (size_t r = 0; r < slots_.size(); ++r) {
      if (Free(r) == nullptr) continue;
      if (!best.has_value() || std::pair(LoadOf(r), Filled(r)) < std::pair(LoadOf(*best), Filled(*best)))
        best = r;
    }
    return *best;
  }
  void Place(int expert, size_t rank) {
    *Free(rank) = ExpertId(expert);
    ++copies_[static_cast<size_t>(expert)];
  }
  // At the rank with the most load that has one.
  bool GiveUpCopy() {
    std::optional<ExpertId> least;
    for (size_t e = 0; e < copies_.size(); ++e) {
      const ExpertId expert(static_cast<int32_t>(e));
      if (copies_[e] > 1 && (!least.has_value() || Part(expert) < Part(*least))) least = expert;
    }
    if (!least.has_value()) return false;
    std::optional<size_t> from;
    for (size_t r = 0; r < slots_.size(); ++r) {
      if (Holds(r, *least) && (!from.has_value() || LoadOf(r) > LoadOf(*from))) from = r;
    }
    *std::find(slots_[*from].begin(), slots_[*from].end(), Slot(*least)) = std::nullopt;
    --copies_[least->index()];
    return true;
  }

  std::vector<std::vector<Slot>> slots_;
  const std::vector<int64_t>& loads_;
  const std::vector<uint32_t>& speeds_;
  std::vector<int> copies_;  // [expert]
};

using Hosts = std::vector<std::vector<std::vector<Rank>>>;  // [layer][expert]

// `kept` has the new rank of every block whose owner is still there.
std::vector<Rank> HomesOf(const std::vector<std::optional<Rank>>& kept, const Hosts& hosts,
                          const ParameterLayout& layout, const PlanLimits& limits) {
  std::vector<Rank> all;
  for (int r = 0; r < limits.ranks; ++r) all.emplace_back(r);
  int64_t dense_elements = 0;
  for (const Parameter& parameter : layout.parameters()) {
    if (!parameter.expert.has_value()) dense_elements += parameter.elements;
  }
  const int64_t dense_share = CeilDiv(dense_elements, limits.ranks);
  std::vector<int64_t> held(all.size(), 0), dense(all.size(), 0);
  std::vector<Rank> homes(kept.size());
  std::vector<size_t> homeless;
  const auto hosts_of = [&](const Parameter& parameter) -> const std::vector<Rank>& {
    return parameter.expert.has_value() ? hosts[parameter.layer->index()][parameter.expert->index()] : all;
  };
  for (size_t b = 0; b < kept.size(); ++b) {
    const int64_t elements = layout.blocks()[b].elements;
    const Parameter& parameter = layout.parameter_of(BlockId(static_cast<int32_t>(b)));
    const std::vector<Rank>& good = hosts_of(parameter);
    const size_t rank = kept[b].value_or(Rank(0)).index();
    const bool stays = kept[b].has_value() && held[rank] + elements <= limits.home_elements_per_rank &&
                       std::find(good.begin(), good.end(), *kept[b]) != good.end() &&
                       (parameter.expert.has_value() || dense[rank] < dense_share);
    if (!stays) {
      homeless.push_back(b);
      continue;
    }
    homes[b] = *kept[b];
    held[rank] += elements;
    if (!parameter.expert.has_value()) dense[rank] += elements;
  }
  for (const size_t b : homeless) {
    const int64_t elements = layout.blocks()[b].elements;
    const Parameter& parameter = layout.parameter_of(BlockId(static_cast<int32_t>(b)));
    const auto emptiest = [&](const std::vector<Rank>& among) {
      return *std::min_element(among.begin(), among.end(),
                               [&](Rank a, Rank other) { return held[a.index()] < held[other.index()]; });
    };
    Rank rank = emptiest(hosts_of(parameter));
    if (held[rank.index()] + elements > limits.home_elements_per_rank) rank = emptiest(all);
    homes[b] = rank;
    held[rank.index()] += elements;
  }
  return homes;
}

}  // namespace

absl::StatusOr<PlanBody> CarryOver(const PlanBody& body, const std::vector<std::optional<Rank>>& from,
                                   const std::vector<std::vector<int64_t>>& loads,
                                   const ParameterLayout& layout, const PlanLimits& limits) {
  PlanBody next;
  next.reason = "as the generation before had it";
  std::vector<std::optional<Rank>> taken_by(body.speeds.size());
  for (size_t r = 0; r < from.size(); ++r) {
    next.speeds.push_back(from[r].has_value() ? body.speeds[from[r]->index()] : kHealthy);
    if (from[r].has_value()) taken_by[from[r]->index()] = Rank(static_cast<int32_t>(r));
  }
  Hosts hosts;
  const std::vector<int64_t> equal(static_cast<size_t>(layout.experts()), 1);
  for (size_t l = 0; l < body.layers.size(); ++l) {
    const LayerPlan& old = body.layers[l];
    LayerPlan layer;
    layer.schedule = old.schedule;
    layer.split.kind = old.split.kind == SplitKind::kFractions ? SplitKind::kExact : old.split.kind;
    for (const std::optional<Rank>& rank : from) {
      layer.slots.push_back(rank.has_value() ? old.slots[rank->index()]
                                             : std::vector<Slot>(static_cast<size_t>(limits.slots_per_rank)));
    }
    LayerSlots slots(std::move(layer.slots), loads.empty() ? equal : loads[l], next.speeds);
    if (!slots.HouseAll()) {
      return absl::InvalidArgumentError(absl::StrCat("layer ", l, ": ", layout.experts(), " experts, and ",
                                                     from.size(), " ranks of ", limits.slots_per_rank,
                                                     " slots"));
    }
    for (size_t r = 0; r < from.size(); ++r) {
      if (!from[r].has_value()) slots.TakeShare(r);
    }
    layer.slots = slots.Take();
    hosts.push_back(layer.Hosts(layout.experts()));
    next.layers.push_back(std::move(layer));
  }
  std::vector<std::optional<Rank>> kept;
  for (const Rank rank : body.homes) kept.push_back(taken_by[rank.index()]);
  next.homes = HomesOf(kept, hosts, layout, limits);
  BALLAST_RETURN_IF_ERROR(ValidatePlan(next, layout, limits));
  return next;
}

}  // namespace ballast
