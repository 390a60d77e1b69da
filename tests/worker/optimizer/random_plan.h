// Tiny models and random plans for optimizer tests.
#pragma once

#include <algorithm>
#include <memory>
#include <vector>

#include "base/check.h"
#include "base/rng.h"
#include "plan/layout.h"
#include "plan/plan.h"

namespace ballast {

// Odd sizes everywhere, so that nothing divides evenly.
inline ModelConfig OddModel() {
  ModelConfig model;
  model.vocabulary_size = 11;
  model.hidden_size = 6;
  model.layers = 2;
  model.attention_heads = 3;
  model.key_value_heads = 1;
  model.head_size = 2;
  model.moe.experts = 5;
  model.moe.top_k = 2;
  model.moe.intermediate_size = 7;
  return model;
}

inline ParameterLayout OddLayout() {
  auto layout = ParameterLayout::Make(OddModel(), 16);
  BALLAST_CHECK_OK(layout.status());
  return *std::move(layout);
}

// Every expert on one to `ranks` ranks, at the index it had in `previous` if it was there; homes anywhere.
inline PlanBody RandomPlan(Rng& rng, const ParameterLayout& layout, int ranks, int slots_per_rank,
                           const PlanBody* previous) {
  PlanBody plan;
  plan.speeds.assign(ranks, 1 << 16);
  for (size_t b = 0; b < layout.blocks().size(); ++b) {
    bool stays = previous != nullptr && rng.Chance(0.7);
    plan.homes.push_back(stays ? previous->homes[b] : Rank(static_cast<int>(rng.Below(ranks))));
  }
  for (int l = 0; l < layout.layers(); ++l) {
    LayerPlan layer;
    layer.slots.assign(ranks, std::vector<Slot>(slots_per_rank));
    // Who holds what first, then at which index: experts that stay choose before those that come.
    std::vector<std::vector<ExpertId>> held(ranks);
    for (int e = 0; e < layout.experts(); ++e) {
      int placed = 0;
      const int start = static_cast<int>(rng.Below(ranks));
      for (int i = 0; i < ranks; ++i) {
        int rank = (start + i) % ranks;
        bool room = static_cast<int>(held[rank].size()) < slots_per_rank;
        if (room && (placed == 0 || rng.Chance(0.2))) {
          held[rank].push_back(ExpertId(e));
          ++placed;
        }
      }
      BALLAST_CHECK(placed > 0) << "too few slots for this test";
    }
    for (int rank = 0; rank < ranks; ++rank) {
      std::vector<ExpertId> coming;
      for (ExpertId expert : held[rank]) {
        std::optional<int> index =
            previous == nullptr ? std::nullopt : previous->layers[l].SlotIndex(Rank(rank), expert);
        if (index.has_value()) {
          layer.slots[rank][*index] = expert;
        } else {
          coming.push_back(expert);
        }
      }
      for (ExpertId expert : coming) {
        auto free = std::find(layer.slots[rank].begin(), layer.slots[rank].end(), Slot());
        BALLAST_CHECK(free != layer.slots[rank].end());
        *free = expert;
      }
    }
    plan.layers.push_back(std::move(layer));
  }
  return plan;
}

}  // namespace ballast
