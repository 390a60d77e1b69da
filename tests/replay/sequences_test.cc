#include "replay/sequences.h"

#include <gtest/gtest.h>

#include <iostream>

#include "replay/place.h"
#include "tests/planner/layer/planted_sequences.h"

namespace ballast {
namespace {

constexpr int kRanks = 16, kPerNode = 4, kSlots = 5, kLayers = 3, kExperts = 64, kTopics = 4, kLength = 64;

struct Placed {
  std::vector<SlotTable> tables;
  double imbalance = 0;  // of the worst layer
};

Placed PlaceWith(const std::string& strategy, const std::vector<std::vector<int64_t>>& loads,
                 const SequenceChoice* choice) {
  PlaceOptions options{kRanks, kPerNode, kSlots, strategy};
  options.evaluations_max = 2000;
  options.sequences = choice;
  const auto layers = Place(loads, {}, options);
  Placed placed;
  EXPECT_TRUE(layers.ok()) << layers.status();
  for (const PlacedLayer& layer : layers.value()) {
    placed.tables.push_back(layer.table);
    placed.imbalance = std::max(placed.imbalance, layer.imbalance);
  }
  return placed;
}

// Held-out sequences of the same topics would be nearest to what training sees; here the sample is the data
// that is dealt, as a superbatch is.
TEST(Sequences, ChosenOnesStayInTheirNodes) {
  const uint64_t seed = 141;
  Rng rng(seed);
  for (const double favour : {4.0, 20.0}) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed << ", favour " << favour);
    const testing::PlantedSequences drawn =
        testing::DrawSequences(rng, kLayers, kExperts, 2, kTopics, 256, kLength, favour);
    const SequenceSample sample = CountSequences(drawn.choices, kLayers, 2, kExperts, kLength).value();
    const SequenceChoice in_order = InOrder(sample, kRanks);
    const std::vector<SlotTable> contiguous(
        kLayers, ContiguousTable(UniformTask(drawn.load[0], kRanks, kSlots, kPerNode)));
    const SequenceTraffic before = TrafficOf(in_order, contiguous, kPerNode);
    const SequenceTraffic by_load =
        TrafficOf(in_order, PlaceWith("splitpack", drawn.load, nullptr).tables, kPerNode);
    std::cout << "planted sequences, favour " << favour << ": off-node share contiguous " << before.off_node
              << ", splitpack " << by_load.off_node;
    for (const char* strategy : {"kmeans", "genetic"}) {
      const auto choice =
          ChooseSequencesFor(sample, {strategy, kRanks, kPerNode, kLayers, kExperts, 2000, seed});
      ASSERT_TRUE(choice.ok()) << choice.status();
      const Placed placed = PlaceWith(strategy, drawn.load, &*choice);
      const SequenceTraffic after = TrafficOf(*choice, placed.tables, kPerNode);
      const SequenceTraffic placed_alone = TrafficOf(in_order, placed.tables, kPerNode);
      std::cout << ", " << strategy << " " << after.off_node << " (off-rank " << after.off_rank << " of "
                << before.off_rank << ", sequences in order " << placed_alone.off_node
                << ", busiest rank / mean " << placed.imbalance << ")";
      // Of a token's choices those inside the topic's share of experts can stay, the others cannot.
      const double wanted = favour / (favour + kTopics - 1);
      EXPECT_LE(after.off_node, 1 - 0.9 * wanted) << strategy;
      EXPECT_LE(after.off_node, 0.8 * placed_alone.off_node) << "the choice of sequences does it";
      EXPECT_LT(after.off_rank, before.off_rank);
      EXPECT_LE(placed.imbalance, 1.06);
    }
    std::cout << "\n";
  }
}

TEST(Sequences, ASampleOfOneLayerStandsForAll) {
  const SequenceSample sample = CountSequences({0, 1, 2, 3}, 1, 1, 4, 2).value();
  const SequenceChoice choice = ChooseSequencesFor(sample, {"kmeans", 2, 1, 3, 4}).value();
  EXPECT_EQ(SourcesOfLayer(choice, 2), choice.sources[0]);
  // Sequence 0 chooses experts 0 and 1: on its rank both are at home.
  const SlotTable apart = {{0, 1}, {2, 3}}, crossed = {{2, 3}, {0, 1}};
  const bool first = choice.rank_of_sequence[0] == 0;
  EXPECT_EQ(TrafficOf(choice, {first ? apart : crossed}, 1).off_node, 0);
  EXPECT_EQ(TrafficOf(choice, {first ? crossed : apart}, 1).off_node, 1);
  EXPECT_EQ(TrafficOf(choice, {first ? crossed : apart}, 2).off_node, 0) << "one node";
  EXPECT_EQ(TrafficOf(choice, {first ? crossed : apart}, 2).off_rank, 1);
}

TEST(Sequences, WhatIsRefused) {
  const SequenceSample sample = CountSequences({0, 1, 2, 3, 0, 1, 2, 3}, 2, 1, 4, 2).value();
  const auto error = [&](const SequenceQuestion& question) {
    return std::string(ChooseSequencesFor(sample, question).status().message());
  };
  EXPECT_EQ(error({"auto", 2, 1, 2, 4}),
            "sequence-length: found strategy auto, allowed is kmeans or genetic, which choose sequences");
  EXPECT_EQ(error({"kmeans", 0, 1, 2, 4}),
            "gpus: found 0, allowed is 1..16384 where kmeans chooses sequences");
  EXPECT_EQ(error({"genetic", 512, 1, 2, 4}),
            "gpus: found 512, allowed is 1..256 where genetic chooses sequences");
  EXPECT_EQ(error({"kmeans", 4, 3, 2, 4}), "gpus-per-node: found 3, allowed is a divisor of 4 gpus");
  EXPECT_EQ(error({"genetic", 4, 0, 2, 4}), "gpus-per-node: found one node, allowed is several, for genetic");
  EXPECT_EQ(error({"kmeans", 2, 1, 2, 5}), "tokens: found 4, allowed is 5 experts");
  EXPECT_EQ(error({"kmeans", 2, 1, 3, 4}), "tokens: found 2 layers, allowed is 1, or the 3 of the loads");
  EXPECT_EQ(error({"kmeans", 2, 1, 2, 4}), "");
}

}  // namespace
}  // namespace ballast
