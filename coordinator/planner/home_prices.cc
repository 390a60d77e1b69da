#include "coordinator/planner/home_prices.h"

#include <algorithm>

#include "absl/strings/str_format.h"
#include "coordinator/planner/explain_layer.h"
#include "coordinator/planner/layer/objective.h"
#include "plan/diff.h"
#include "plan/home_moves.h"

namespace ballast {
namespace {

std::vector<int> NodesOf(const Topology& topology) {
  std::vector<int> nodes;
  for (NodeId node : topology.node_of_rank) nodes.push_back(node.value());
  return nodes;
}

ParameterLayout::BlockRange BlocksOf(const ParameterLayout& layout, size_t layer, int expert) {
  return layout.ExpertBlocks(LayerId(static_cast<int32_t>(layer)), ExpertId(expert));
}

// Bytes of an expert; a byte over a NIC costs `nic`, inside a node `nvlink`.
HomeCosts CostsOf(const PlanInput& input, double nic, double nvlink) {
  const double elements = static_cast<double>(input.layout.expert_elements());
  const ParameterLayout::BlockRange blocks = BlocksOf(input.layout, 0, 0);
  return {nic,
          nvlink,
          elements * input.element_bytes,
          elements * static_cast<double>(kHomeBytesPerElement),
          blocks.last - blocks.first,
          input.port_slowdowns};
}

}  // namespace

std::vector<ExpertHomes> ExpertHomesOf(const std::vector<Rank>& homes, const ParameterLayout& layout,
                                       size_t layer) {
  std::vector<ExpertHomes> result;
  std::vector<int> owners;
  for (int e = 0; e < layout.experts(); ++e) {
    const ParameterLayout::BlockRange blocks = BlocksOf(layout, layer, e);
    owners.clear();
    for (int b = blocks.first; b < blocks.last; ++b) owners.push_back(homes[static_cast<size_t>(b)].value());
    std::sort(owners.begin(), owners.end());
    ExpertHomes& of_expert = result.emplace_back();
    for (size_t begin = 0, end; begin < owners.size(); begin = end) {
      end =
          static_cast<size_t>(std::upper_bound(owners.begin(), owners.end(), owners[begin]) - owners.begin());
      of_expert.push_back(
          {owners[begin], static_cast<double>(end - begin) / static_cast<double>(owners.size())});
    }
  }
  return result;
}

double RowCost(const PlanInput& input, size_t layer) {
  return RelativeCosts(TaskOf(input, input.history.samples().back().tokens[layer]), 0, 0).load;
}

std::optional<HomePricing> HomePricingOf(const PlanInput& input, size_t layer, double row_cost) {
  if (input.nic_byte_cost <= 0) return std::nullopt;
  return HomePricing{ExpertHomesOf(input.current.homes, input.layout, layer),
                     CostsOf(input, input.nic_byte_cost * row_cost, input.node_byte_cost * row_cost)};
}

std::string PricesText(const PlanInput& input) {
  if (input.nic_byte_cost <= 0) {
    return absl::StrFormat(
        "flat, %.3g of a layer's balanced step for a slot write: no port or link between nodes is measured, "
        "or "
        "what a row takes is not known",
        input.config.slot_write_cost);
  }
  const HomeCosts costs = CostsOf(input, input.nic_byte_cost, input.node_byte_cost);
  return absl::StrFormat(
      "measured: an expert's gradient or weights between nodes take as long as computing %.4g rows, inside a "
      "node %.4g; moving its home between nodes, once, %.4g",
      costs.nic * costs.weight_bytes, costs.nvlink * costs.weight_bytes, costs.nic * costs.state_bytes);
}

std::optional<PlanBody> HomesThatFollow(const PlanInput& input) {
  const bool measured = input.nic_byte_cost > 0;
  // Rent and price are both in bytes of the busiest rank where links are not measured.
  const HomeCosts costs =
      CostsOf(input, measured ? input.nic_byte_cost : 1, measured ? input.node_byte_cost : 1);
  const std::vector<int> nodes = NodesOf(input.topology);
  const double steps =
      static_cast<double>(input.active_since.value() > 0 ? input.now.value() - input.active_since.value() + 1
                                                         : input.history.observed());
  PlanBody body = input.current;
  std::vector<Rank> wanted = PreferredHomes(body, input.layout);
  for (size_t l = 0; l < body.layers.size(); ++l) {
    const auto hosts = body.layers[l].Hosts(input.layout.experts());
    const std::vector<ExpertHomes> homes = ExpertHomesOf(body.homes, input.layout, l);
    for (int e = 0; e < input.layout.experts(); ++e) {
      const Rent rent = RentOf(hosts[e], homes[e], nodes, costs);
      if (rent.a_step > 0 && rent.a_step * steps >= rent.price) continue;
      const ParameterLayout::BlockRange blocks = BlocksOf(input.layout, l, e);
      std::copy(body.homes.begin() + blocks.first, body.homes.begin() + blocks.last,
                wanted.begin() + blocks.first);
    }
  }
  body.homes = BoundHomeMoves(body.homes, wanted, input.layout, input.limits);
  if (body.homes == input.current.homes) return std::nullopt;
  return body;
}

}  // namespace ballast
