#include "plan/home_moves.h"

#include "base/check.h"
#include "base/math.h"
#include "plan/diff.h"

namespace ballast {
namespace {

// Spreads the blocks of one expert over its hosts; blocks already on a host below its share stay.
void Spread(const ParameterLayout::BlockRange& blocks, const std::vector<Rank>& hosts,
            std::vector<Rank>& homes) {
  const int64_t count = blocks.last - blocks.first;
  const int64_t parts = static_cast<int64_t>(hosts.size());
  std::vector<int64_t> room(hosts.size());
  for (int64_t i = 0; i < parts; ++i) room[i] = PartBegin(count, parts, i + 1) - PartBegin(count, parts, i);
  std::vector<int> homeless;
  for (int b = blocks.first; b < blocks.last; ++b) {
    bool stays = false;
    for (size_t i = 0; i < hosts.size() && !stays; ++i) {
      if (hosts[i] != homes[b] || room[i] == 0) continue;
      --room[i];
      stays = true;
    }
    if (!stays) homeless.push_back(b);
  }
  size_t host = 0;
  for (int b : homeless) {
    while (room[host] == 0) ++host;  // rooms sum to the number of blocks
    homes[b] = hosts[host];
    --room[host];
  }
}

}  // namespace

std::vector<int64_t> HomeElements(const std::vector<Rank>& homes, const ParameterLayout& layout, int ranks) {
  BALLAST_CHECK(homes.size() == layout.blocks().size()) << homes.size() << " homes";
  std::vector<int64_t> elements(static_cast<size_t>(ranks), 0);
  for (size_t b = 0; b < homes.size(); ++b) elements[homes[b].index()] += layout.blocks()[b].elements;
  return elements;
}

std::vector<Rank> PreferredHomes(const PlanBody& body, const ParameterLayout& layout) {
  std::vector<Rank> homes = body.homes;
  for (size_t l = 0; l < body.layers.size(); ++l) {
    const auto hosts = body.layers[l].Hosts(layout.experts());
    for (int e = 0; e < layout.experts(); ++e) {
      if (hosts[e].empty()) continue;
      Spread(layout.ExpertBlocks(LayerId(static_cast<int32_t>(l)), ExpertId(e)), hosts[e], homes);
    }
  }
  return homes;
}

std::vector<Rank> BoundHomeMoves(const std::vector<Rank>& current, const std::vector<Rank>& wanted,
                                 const ParameterLayout& layout, const PlanLimits& limits) {
  BALLAST_CHECK(current.size() == wanted.size()) << current.size() << " and " << wanted.size() << " homes";
  std::vector<Rank> homes = current;
  std::vector<int64_t> held = HomeElements(current, layout, limits.ranks);
  std::vector<int64_t> in(held.size(), 0);
  std::vector<int64_t> out(held.size(), 0);
  for (size_t b = 0; b < homes.size(); ++b) {
    if (current[b] == wanted[b]) continue;
    const int64_t elements = layout.blocks()[b].elements;
    const int64_t bytes = elements * kHomeBytesPerElement;
    const size_t from = current[b].index();
    const size_t to = wanted[b].index();
    if (out[from] + bytes > limits.home_move_bytes_max || in[to] + bytes > limits.home_move_bytes_max)
      continue;
    if (held[to] + elements > limits.home_elements_per_rank) continue;
    out[from] += bytes;
    in[to] += bytes;
    held[to] += elements;  // and held[from] stays: the old home keeps its copy during the switch
    homes[b] = wanted[b];
  }
  return homes;
}

}  // namespace ballast
