// Small jobs, random plans and random loads for the tests of plan/ and of what stands on it.
#pragma once

#include <algorithm>
#include <vector>

#include "base/check.h"
#include "base/rng.h"
#include "plan/contiguous.h"
#include "plan/layout.h"
#include "plan/plan.h"
#include "plan/split.h"
#include "plan/validate.h"

namespace ballast::testing {

// hidden 8, intermediate 6, vocabulary 10: an expert has 144 parameters; blocks of 20 cut each of its
// matrices in three.
inline JobConfig SmallJob(int layers, int experts, int slots_per_rank) {
  JobConfig job;
  job.name = JobId("small");
  job.model = {.vocabulary_size = 10,
               .hidden_size = 8,
               .layers = layers,
               .attention_heads = 2,
               .key_value_heads = 1,
               .head_size = 4,
               .moe = {.experts = experts, .top_k = 1, .intermediate_size = 6}};
  job.placement.slots_per_rank = slots_per_rank;
  job.placement.block_elements = 20;
  job.planner.strategy = "greedy";
  return job;
}

inline ParameterLayout LayoutOf(const JobConfig& job) {
  auto layout = ParameterLayout::Make(job.model, job.placement.block_elements);
  BALLAST_CHECK_OK(layout.status());
  return *std::move(layout);
}

// Every expert on at least one rank, free slots filled with copies now and then, slot indices shuffled.
// Requires ranks * slots >= experts.
inline LayerPlan RandomLayer(Rng& rng, int ranks, int slots, int experts) {
  LayerPlan layer;
  layer.slots.assign(static_cast<size_t>(ranks), std::vector<Slot>(static_cast<size_t>(slots)));
  std::vector<std::pair<int, int>> places;
  for (int r = 0; r < ranks; ++r) {
    for (int i = 0; i < slots; ++i) places.emplace_back(r, i);
  }
  for (size_t i = places.size(); i > 1; --i) std::swap(places[i - 1], places[rng.Below(i)]);
  const double fill = rng.Uniform();
  for (size_t p = 0; p < places.size(); ++p) {
    const auto [r, i] = places[p];
    const int e = static_cast<int>(p) < experts ? static_cast<int>(p) : static_cast<int>(rng.Below(experts));
    if (static_cast<int>(p) >= experts && (!rng.Chance(fill) || layer.SlotIndex(Rank(r), ExpertId(e))))
      continue;
    layer.slots[r][i] = ExpertId(e);
  }
  return layer;
}

// Skewed at random: some experts hot, some without tokens.
inline CountMatrix RandomCounts(Rng& rng, int ranks, int experts, int64_t most) {
  CountMatrix counts(static_cast<size_t>(ranks), std::vector<int64_t>(static_cast<size_t>(experts), 0));
  for (int e = 0; e < experts; ++e) {
    if (rng.Chance(0.15)) continue;
    const int64_t top = rng.Between(0, rng.Chance(0.2) ? most : most / 4);
    for (int s = 0; s < ranks; ++s) {
      if (!rng.Chance(0.1)) counts[s][e] = rng.Between(0, top);
    }
  }
  return counts;
}

inline Topology RandomTopology(Rng& rng, int ranks) {
  const int nodes = static_cast<int>(rng.Between(1, ranks));
  std::vector<std::string> names;
  for (int r = 0; r < ranks; ++r) names.push_back("node" + std::to_string(rng.Below(nodes)));
  return Topology::FromNodeNames(names);
}

inline std::vector<uint32_t> RandomSpeeds(Rng& rng, int ranks) {
  std::vector<uint32_t> speeds(static_cast<size_t>(ranks), 65536);
  if (rng.Chance(0.5)) return speeds;
  for (uint32_t& speed : speeds) {
    if (rng.Chance(0.5)) speed = static_cast<uint32_t>(rng.Between(1, 100000));
  }
  return speeds;
}

}  // namespace ballast::testing
