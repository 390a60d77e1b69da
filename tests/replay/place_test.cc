#include "replay/place.h"

#include <cmath>

#include "base/rng.h"
#include "coordinator/planner/layer/bounds.h"
#include "gtest/gtest.h"

namespace ballast {
namespace {

std::vector<int64_t> Skewed(Rng& rng, int experts) {
  std::vector<int64_t> load;
  for (int e = 0; e < experts; ++e) load.push_back(std::llround(1000 * std::exp(rng.Normal())));
  return load;
}

TEST(Place, SpareSlotsComeCloseToTheBound) {
  const uint64_t seed = 12;
  SCOPED_TRACE(seed);
  Rng rng(seed);
  PlaceOptions options{.ranks = 8, .ranks_per_node = 4, .slots = 5};
  const std::vector<std::vector<int64_t>> loads = {Skewed(rng, 32), Skewed(rng, 32), Skewed(rng, 32)};
  for (const char* strategy : {"auto", "splitpack", "lpt_swap"}) {
    options.strategy = strategy;
    const auto placed = Place(loads, {}, options);
    ASSERT_TRUE(placed.ok()) << placed.status();
    ASSERT_EQ(placed->size(), 3u);
    for (size_t l = 0; l < 3; ++l) {
      const PlacedLayer& layer = (*placed)[l];
      EXPECT_TRUE(CheckTable(UniformTask(loads[l], 8, 5, 4), layer.table).ok());
      EXPECT_GE(layer.imbalance, layer.bound - 1e-9) << strategy;
      EXPECT_LE(layer.imbalance, layer.contiguous_imbalance + 1e-9) << strategy;
      if (std::string(strategy) != "lpt_swap") {
        EXPECT_LE(layer.imbalance, 1.03 * layer.bound) << strategy;
      }
    }
    const auto again = Place(loads, {}, options);
    EXPECT_EQ((*again)[0].table, (*placed)[0].table) << "the same input gives the same placement";
  }
}

TEST(Place, LayersWithoutLoadStayContiguous) {
  const auto placed = Place({{0, 0, 0, 0}}, {}, {.ranks = 2, .slots = 3});
  ASSERT_TRUE(placed.ok()) << placed.status();
  EXPECT_EQ((*placed)[0].table, ContiguousTable(UniformTask({0, 0, 0, 0}, 2, 3, 2)));
  EXPECT_EQ((*placed)[0].imbalance, 1);
}

TEST(Place, WhatIsRefused) {
  const std::vector<std::vector<int64_t>> loads = {{5, 5, 5, 5}};
  const auto message = [](const auto& placed) { return std::string(placed.status().message()); };
  EXPECT_EQ(message(Place(loads, {}, {.ranks = 0, .slots = 2})), "gpus: found 0, allowed is 1..16384");
  EXPECT_EQ(message(Place(loads, {}, {.ranks = 4, .ranks_per_node = 3, .slots = 2})),
            "gpus-per-node: found 3, allowed is a divisor of 4 gpus");
  EXPECT_NE(message(Place(loads, {}, {.ranks = 2, .slots = 1})).find("layer 0: "), std::string::npos);
  EXPECT_NE(message(Place({{5, -1}}, {}, {.ranks = 1, .slots = 2})).find("load of expert 1: found -1"),
            std::string::npos);
  EXPECT_EQ(message(Place({{5, 1}, {5}}, {}, {.ranks = 1, .slots = 2})),
            "loads: layer 1: found 1 experts, allowed is 2");
  EXPECT_EQ(message(Place({}, {}, {.ranks = 1, .slots = 2})),
            "loads: found no layer, allowed is one or more");
  EXPECT_EQ(message(Place(loads, {}, {.ranks = 2, .slots = 2, .strategy = "kmeans"})),
            "strategy: kmeans needs a co-activation sample, found none");
  EXPECT_EQ(Place(loads, {}, {.ranks = 2, .slots = 2, .strategy = "best"}).status().code(),
            absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace ballast
