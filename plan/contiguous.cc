#include "plan/contiguous.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/math.h"
#include "plan/home_moves.h"
#include "plan/validate.h"

namespace ballast {

Rank ContiguousRank(int expert, int experts, int ranks) {
  BALLAST_CHECK(expert >= 0 && expert < experts && ranks > 0) << "expert " << expert << " of " << experts;
  // The largest g with floor(g E / G) <= expert.
  return Rank(static_cast<int32_t>(((int64_t{expert} + 1) * ranks - 1) / experts));
}

std::vector<Rank> ContiguousHomes(const ParameterLayout& layout, int ranks) {
  std::vector<Rank> homes(layout.blocks().size());
  std::vector<int64_t> held(static_cast<size_t>(ranks), 0);
  std::vector<int> dense;
  for (size_t b = 0; b < homes.size(); ++b) {
    const Parameter& parameter = layout.parameter_of(BlockId(static_cast<int32_t>(b)));
    if (!parameter.expert) {
      dense.push_back(static_cast<int>(b));
      continue;
    }
    homes[b] = ContiguousRank(parameter.expert->value(), layout.experts(), ranks);
    held[homes[b].index()] += layout.blocks()[b].elements;
  }
  std::stable_sort(dense.begin(), dense.end(),
                   [&](int a, int b) { return layout.blocks()[a].elements > layout.blocks()[b].elements; });
  for (int b : dense) {
    const auto least = std::min_element(held.begin(), held.end());
    homes[b] = Rank(static_cast<int32_t>(least - held.begin()));
    *least += layout.blocks()[b].elements;
  }
  return homes;
}

absl::StatusOr<PlanBody> ContiguousPlan(const JobConfig& job, const ParameterLayout& layout, int ranks) {
  const int experts = layout.experts();
  const int slots = job.placement.slots_per_rank;
  if (ranks < 1)
    return absl::InvalidArgumentError(absl::StrCat("ranks: found ", ranks, ", allowed is at least 1"));
  const int64_t longest = CeilDiv(experts, ranks);
  if (slots < longest) {
    return absl::InvalidArgumentError(absl::StrCat("placement.slots_per_rank: found ", slots, ", but ",
                                                   experts, " experts on ", ranks, " ranks need at least ",
                                                   longest));
  }
  PlanBody body;
  body.homes = ContiguousHomes(layout, ranks);
  const PlanLimits limits = LimitsFor(job, layout, ranks);
  const std::vector<int64_t> held = HomeElements(body.homes, layout, ranks);
  const auto fullest = std::max_element(held.begin(), held.end());
  if (*fullest > limits.home_elements_per_rank) {
    return absl::InvalidArgumentError(
        absl::StrCat("placement.home_elements_per_rank: found ", limits.home_elements_per_rank,
                     ", but the contiguous plan on ", ranks, " ranks needs at least ", *fullest, " (rank ",
                     fullest - held.begin(), ")"));
  }
  body.speeds.assign(static_cast<size_t>(ranks), uint32_t{1} << 16);
  LayerPlan layer;
  layer.slots.assign(static_cast<size_t>(ranks), std::vector<Slot>(static_cast<size_t>(slots)));
  for (int g = 0; g < ranks; ++g) {
    const int64_t first = PartBegin(experts, ranks, g);
    for (int64_t e = first; e < PartBegin(experts, ranks, g + 1); ++e) {
      layer.slots[g][e - first] = ExpertId(static_cast<int32_t>(e));
    }
  }
  layer.schedule.all_to_all = job.schedule.all_to_all;
  layer.schedule.chunks = job.schedule.chunks;
  layer.schedule.dispatch_compressor = job.schedule.dispatch_compressor;
  layer.schedule.combine_compressor = job.schedule.combine_compressor;
  body.layers.assign(static_cast<size_t>(layout.layers()), layer);
  body.reason = "contiguous placement";
  return body;
}

}  // namespace ballast
