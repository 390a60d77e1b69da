// Random layers, counts and splits for schedule tests.
#pragma once

#include <vector>

#include "base/rng.h"
#include "worker/schedule/all_to_all.h"

namespace ballast {

struct RandomRoute {
  LayerPlan layer;
  Split split;
  Route route;
};

// What a rank makes of the split that asks for its own rows and columns alone.
inline Route RouteOf(const RandomRoute& whole, const std::vector<char>& wanted) {
  Split split;
  for (const Share& share : whole.split.shares) {
    if (wanted[share.source.index()] || wanted[share.host.index()]) split.shares.push_back(share);
  }
  return MakeRoute(split, whole.layer);
}

// Every expert on 1 to 3 random ranks; some (source, expert) pairs have no tokens.
inline RandomRoute MakeRandomRoute(Rng& rng, int ranks, int experts) {
  RandomRoute r;
  r.layer.slots.resize(ranks);
  for (int e = 0; e < experts; ++e) {
    int replicas = static_cast<int>(rng.Between(1, std::min(3, ranks)));
    int first = static_cast<int>(rng.Below(ranks));
    for (int i = 0; i < replicas; ++i) r.layer.slots[(first + i) % ranks].push_back(ExpertId(e));
  }
  for (auto& slots : r.layer.slots) {
    if (rng.Chance(0.5)) slots.insert(slots.begin(), Slot());  // a hole
  }
  std::vector<std::vector<Rank>> hosts(experts);
  for (int rank = 0; rank < ranks; ++rank) {
    for (const Slot& slot : r.layer.slots[rank]) {
      if (slot.has_value()) hosts[slot->index()].push_back(Rank(rank));
    }
  }
  for (int source = 0; source < ranks; ++source) {
    for (int e = 0; e < experts; ++e) {
      for (Rank host : hosts[e]) {
        int64_t count = rng.Chance(0.3) ? 0 : rng.Between(1, 5);
        if (count == 0) continue;
        int slot = 0;
        while (r.layer.slots[host.index()][slot] != Slot(ExpertId(e))) ++slot;
        r.split.shares.push_back({Rank(source), ExpertId(e), host, slot, count});
      }
    }
  }
  r.route = MakeRoute(r.split, r.layer);
  return r;
}

}  // namespace ballast
