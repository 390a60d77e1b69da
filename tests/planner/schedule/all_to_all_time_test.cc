#include "coordinator/planner/schedule/all_to_all_time.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "base/rng.h"
#include "worker/schedule/rails.h"
#include "worker/schedule/two_level.h"

namespace ballast {
namespace {

Topology Nodes(int nodes, int ranks_per_node) {
  std::vector<std::string> names;
  for (int r = 0; r < nodes * ranks_per_node; ++r) names.push_back("n" + std::to_string(r / ranks_per_node));
  return Topology::FromNodeNames(names);
}

TrafficMatrix Even(const Topology& topology, double bytes) {
  const auto ranks = static_cast<size_t>(topology.ranks());
  return TrafficMatrix(ranks, std::vector<double>(ranks, bytes));
}

Network Uniform(const Topology& topology) {
  Network network;
  network.inside = {2e-6, 100e9};
  network.between.assign(static_cast<size_t>(topology.nodes()), PortSpeed{20e-6, 10e9});
  return network;
}

TEST(AllToAllTime, DirectByHand) {
  const Topology topology = Nodes(2, 2);
  // Each rank sends two messages of 1 MB to the other node and one inside.
  EXPECT_NEAR(*AllToAllSeconds("direct", Even(topology, 1e6), topology, Uniform(topology)),
              2 * 20e-6 + 2e6 / 10e9, 1e-12);
  // All that is large stays in a node.
  TrafficMatrix bytes = Even(topology, 0);
  bytes[0][1] = 1e9;
  EXPECT_NEAR(*AllToAllSeconds("direct", bytes, topology, Uniform(topology)), 2e-6 + 1e9 / 100e9, 1e-12);
  EXPECT_FALSE(AllToAllSeconds("teleport", bytes, topology, Uniform(topology)));
}

// The stages as the workers run them: messages and bytes by rank pair, from the stops of every run.
TEST(AllToAllTime, AlgorithmsOfManyStagesGoByTheWorkersStops) {
  Rng rng(111);
  for (int i = 0; i < 100; ++i) {
    const std::string algorithm = i % 2 ? "rails" : "two_level";
    // Ranks lie on nodes of unequal size.
    std::vector<std::string> names;
    const int nodes = static_cast<int>(rng.Between(1, 4));
    for (int64_t r = rng.Between(1, 12); r > 0; --r)
      names.push_back("n" + std::to_string(rng.Below(static_cast<uint64_t>(nodes))));
    const Topology topology = Topology::FromNodeNames(names);
    const Rails rails(topology);
    const Network network = Uniform(topology);
    TrafficMatrix bytes = Even(topology, 0);
    std::vector<std::map<std::pair<size_t, size_t>, double>> stages(3);
    for (size_t s = 0; s < bytes.size(); ++s) {
      for (size_t h = 0; h < bytes.size(); ++h) {
        if (rng.Chance(0.3)) continue;
        bytes[s][h] = static_cast<double>(rng.Between(1, 1'000'000));
        RowRun run;
        run.from = Rank(static_cast<int32_t>(s));
        run.to = Rank(static_cast<int32_t>(h));
        size_t at = s;
        const std::vector<Rank> stops =
            i % 2 ? rails.Stops(run, Direction::kDispatch) : TwoLevelStops(topology, run);
        for (size_t k = 0; k < stops.size(); ++k) {
          if (stops[k].index() != at) stages[k][{at, stops[k].index()}] += bytes[s][h];
          at = stops[k].index();
        }
      }
    }
    double seconds = 0;
    for (const auto& stage : stages) {
      std::map<std::pair<size_t, int>, std::pair<double, double>> ports;  // (rank, kind) -> messages, bytes
      for (const auto& [pair, size] : stage) {
        const bool inside = topology.node_of_rank[pair.first] == topology.node_of_rank[pair.second];
        for (const auto& port :
             {std::pair(pair.first, inside ? 0 : 2), std::pair(pair.second, inside ? 1 : 3)}) {
          ports[port].first += 1;
          ports[port].second += size;
        }
      }
      double most = 0;
      for (const auto& [port, load] : ports) {
        const PortSpeed speed = port.second < 2 ? network.inside : network.between[0];
        most = std::max(most, load.first * speed.latency + load.second / speed.bytes_per_second);
      }
      seconds += most;
    }
    EXPECT_NEAR(*AllToAllSeconds(algorithm, bytes, topology, network), seconds, 1e-12) << "case " << i;
  }
}

// One rank's experts are what its node alone has: its port is the bottleneck, and rails spread it.
TEST(AllToAllTime, AHotPortTakesRails) {
  const Topology topology = Nodes(2, 8);
  TrafficMatrix bytes = Even(topology, 1e5);
  for (size_t s = 8; s < 16; ++s) bytes[s][0] = 2e7;
  const std::vector<std::string> names = {"direct", "rails", "two_level"};
  EXPECT_EQ(ChooseAllToAll(names, "direct", bytes, topology, Uniform(topology)), "rails");
  EXPECT_EQ(ChooseAllToAll(names, "rails", Even(topology, 1e7), topology, Uniform(topology)), "direct");
}

TEST(AllToAllTime, SmallMessagesGoInTwoLevelsAndLargeOnesDirectly) {
  const Topology topology = Nodes(8, 8);
  const Network network = Uniform(topology);
  const std::vector<std::string> names = {"direct", "two_level"};
  EXPECT_EQ(ChooseAllToAll(names, "direct", Even(topology, 100), topology, network), "two_level");
  EXPECT_EQ(ChooseAllToAll(names, "two_level", Even(topology, 100), topology, network), "two_level");
  EXPECT_EQ(ChooseAllToAll(names, "two_level", Even(topology, 1e6), topology, network), "direct");
  EXPECT_EQ(ChooseAllToAll({"direct"}, "direct", Even(topology, 100), topology, network), "direct");
  // Without a clear gain nothing changes, and an algorithm that is not known here is left alone.
  const Topology flat = Nodes(4, 1);
  EXPECT_EQ(ChooseAllToAll(names, "two_level", Even(flat, 1e6), flat, Uniform(flat)), "two_level");
  EXPECT_EQ(ChooseAllToAll(names, "other", Even(topology, 100), topology, network), "other");
}

TEST(AllToAllTime, PortsComeFromTheMeasuredLinks) {
  Topology topology = Nodes(3, 2);
  EXPECT_FALSE(NetworkOf(topology));
  topology.links.assign(9, LinkSpeed());
  EXPECT_FALSE(NetworkOf(topology));
  topology.links[0 * 3 + 1] = {10e-6, 10e9};
  topology.links[1 * 3 + 0] = {30e-6, 20e9};
  const auto network = NetworkOf(topology);
  ASSERT_TRUE(network);
  EXPECT_NEAR(network->between[0].latency, 20e-6, 1e-12);
  EXPECT_NEAR(network->between[1].bytes_per_second, 15e9, 1);
  EXPECT_NEAR(network->between[2].bytes_per_second, 15e9, 1) << "not measured: as the others";
  EXPECT_GT(network->inside.bytes_per_second, 15e9);
}

TEST(AllToAllTime, WhatExchangesSayGoesBeforeProbes) {
  Topology topology = Nodes(3, 2);
  MeasuredPorts measured{.between = 8e9, .inside = {}, .slowdowns = {}};
  const auto traffic_alone = NetworkOf(topology, measured);
  ASSERT_TRUE(traffic_alone);
  EXPECT_EQ(traffic_alone->between[2].bytes_per_second, 8e9);
  EXPECT_EQ(traffic_alone->between[2].latency, 0);
  EXPECT_EQ(traffic_alone->inside.bytes_per_second, 8e9 * kInsideFaster);
  topology.links.assign(9, LinkSpeed());
  topology.links[0 * 3 + 1] = {10e-6, 20e9};
  measured.inside = 100e9;
  measured.slowdowns = {1, 1, 2, 2, 1, 3};
  const auto both = NetworkOf(topology, measured);
  EXPECT_EQ(both->between[0].bytes_per_second, 8e9);
  EXPECT_EQ(both->between[1].bytes_per_second, 4e9);
  EXPECT_EQ(both->between[2].bytes_per_second, 4e9) << "the mean of its two ranks' slowdowns";
  EXPECT_NEAR(both->between[2].latency, 10e-6, 1e-12) << "of the probes";
  EXPECT_EQ(both->inside.bytes_per_second, 100e9);
  measured.between.reset();
  EXPECT_EQ(NetworkOf(topology, measured)->between[0].bytes_per_second, 20e9);

  const Topology one = Nodes(1, 4);
  EXPECT_FALSE(NetworkOf(one, MeasuredPorts{.between = 8e9, .inside = {}, .slowdowns = {}}));
  const auto inside = NetworkOf(one, MeasuredPorts{.between = {}, .inside = 100e9, .slowdowns = {}});
  ASSERT_TRUE(inside);
  EXPECT_EQ(inside->inside.bytes_per_second, 100e9);
  EXPECT_EQ(inside->between.size(), 1u);
}

}  // namespace
}  // namespace ballast
