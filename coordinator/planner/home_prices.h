// Homes as the live planner sees them: what J pays for them, and which of them follow their slots.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "coordinator/planner/layer/home_traffic.h"
#include "coordinator/planner/planner.h"

namespace ballast {

// [expert] of one layer: the ranks that own its blocks, by number of blocks. `homes` is by block.
std::vector<ExpertHomes> ExpertHomesOf(const std::vector<Rank>& homes, const ParameterLayout& layout,
                                       size_t layer);

// A row on a healthy rank, in balanced steps of the layer by its newest measured load (a forecast has units
// of its own); 0 without tokens. Requires a measured step.
double RowCost(const PlanInput& input, size_t layer);

// Prices in units of which a row costs `row_cost`; nothing when bytes are not measured.
std::optional<HomePricing> HomePricingOf(const PlanInput& input, size_t layer, double row_cost);

// What HomePricingOf says, for people.
std::string PricesText(const PlanInput& input);

// The current plan with the homes moved whose time has come: what the present placement of the slots has cost
// them since it is active reaches what their move costs (rent or buy). As many as limits allow; nothing when
// none moves.
std::optional<PlanBody> HomesThatFollow(const PlanInput& input);

}  // namespace ballast
