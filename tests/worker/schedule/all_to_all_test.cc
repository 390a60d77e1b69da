#include "worker/schedule/all_to_all.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <map>
#include <set>

#include "tests/worker/comm/communicator_fixture.h"
#include "tests/worker/schedule/random_route.h"
#include "worker/backend/cpu/cpu_backend.h"
#include "worker/comm/thread_communicator.h"
#include "worker/schedule/rails.h"
#include "worker/schedule/two_level.h"

namespace ballast {
namespace {

constexpr int kColumns = 5;

// What one exchange did, each rank knowing its own part of the route alone: the output rows of every rank,
// and messages and bytes of every pair of ranks.
struct Outcome {
  std::vector<std::vector<float>> out;        // [rank]
  std::vector<std::vector<CommStats>> pairs;  // [from][to]
  int64_t operations = 0;                     // of one rank
};

Outcome Move(const std::string& algorithm, const std::string& compressor, const Topology& topology,
             const RandomRoute& whole, Direction direction, const std::vector<std::vector<float>>& in) {
  const int ranks = topology.ranks();
  ThreadCommunicatorGroup group(ranks);
  Outcome outcome;
  outcome.out.resize(ranks);
  OnAllRanks(ranks, [&](Rank self) {
    auto backend = MakeCpuBackend(DType::kFloat32).value();
    auto stream = backend->NewStream();
    auto communicator = group.Take(self);
    AllToAllScratch scratch(*backend);
    AllToAllContext context{*communicator, *backend, *stream, topology, After(60), scratch};
    const AllToAllPtr all_to_all = AllToAlls().Find(algorithm).value();
    const Route route = RouteOf(whole, all_to_all->Wanted(topology, self));
    auto rows = [&](bool input) {
      return (direction == Direction::kDispatch) == input ? route.source_rows[self.index()]
                                                          : route.host_rows[self.index()];
    };
    std::vector<float> input = in[self.index()];
    std::vector<float>& output = outcome.out[self.index()];
    output.assign(rows(false) * kColumns, NAN);
    // Twice, the second time on used buffers.
    for (int i = 0; i < 2; ++i) {
      absl::Status status =
          all_to_all->Exchange(context, route, direction, *Compressors().Find(compressor).value(),
                               {input.data(), rows(true), kColumns}, {output.data(), rows(false), kColumns});
      ASSERT_TRUE(status.ok()) << status;
    }
    EXPECT_EQ(input, in[self.index()]) << "the input was written to";
    if (self == Rank(0)) outcome.operations = communicator->stats().operations / 2;
  });
  for (int from = 0; from < ranks; ++from) {
    outcome.pairs.emplace_back();
    for (int to = 0; to < ranks; ++to) {
      CommStats stats = group.PairStats(Rank(from), Rank(to));
      stats.messages_sent /= 2;
      stats.bytes_sent /= 2;
      outcome.pairs[from].push_back(stats);
    }
  }
  return outcome;
}

std::vector<std::vector<float>> RandomRows(Rng& rng, const std::vector<int64_t>& rows) {
  std::vector<std::vector<float>> all;
  for (int64_t count : rows) {
    std::vector<float> values(count * kColumns);
    for (float& value : values) value = static_cast<float>(rng.Normal());
    all.push_back(std::move(values));
  }
  return all;
}

// The oracle: every segment's rows copied to their place.
std::vector<std::vector<float>> Moved(const Route& route, Direction direction,
                                      const std::vector<std::vector<float>>& in) {
  std::vector<std::vector<float>> out;
  for (int64_t rows : direction == Direction::kDispatch ? route.host_rows : route.source_rows) {
    out.emplace_back(rows * kColumns, NAN);
  }
  for (const RouteSegment& s : route.segments) {
    for (int64_t i = 0; i < s.rows * kColumns; ++i) {
      const int64_t at_source = s.source_offset * kColumns + i, at_host = s.host_offset * kColumns + i;
      if (direction == Direction::kDispatch) {
        out[s.host.index()][at_host] = in[s.source.index()][at_source];
      } else {
        out[s.source.index()][at_source] = in[s.host.index()][at_host];
      }
    }
  }
  return out;
}

Topology NodesOf(const std::vector<int>& node_of_rank) {
  std::vector<std::string> names;
  for (int node : node_of_rank) names.push_back("node" + std::to_string(node));
  return Topology::FromNodeNames(names);
}

// Nodes of 3+1, 1+3, 2+2, 1+1+1, one node, interleaved ranks, 3+2+1.
std::vector<Topology> Topologies() {
  return {NodesOf({0, 0, 0, 1}), NodesOf({0, 1, 1, 1}), NodesOf({0, 0, 1, 1}),       NodesOf({0, 1, 2}),
          NodesOf({0, 0, 0}),    NodesOf({0, 1, 0, 1}), NodesOf({0, 1, 2, 0, 1, 0}), NodesOf({0})};
}

TEST(AllToAll, EveryAlgorithmMovesEveryRowBothWays) {
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    for (const Topology& topology : Topologies()) {
      SCOPED_TRACE("seed " + std::to_string(seed) + ", ranks " + std::to_string(topology.ranks()));
      Rng rng(HashSeed({seed, static_cast<uint64_t>(topology.ranks())}));
      RandomRoute random = MakeRandomRoute(rng, topology.ranks(), 7);
      for (Direction direction : {Direction::kDispatch, Direction::kCombine}) {
        auto in = RandomRows(
            rng, direction == Direction::kDispatch ? random.route.source_rows : random.route.host_rows);
        auto expected = Moved(random.route, direction, in);
        for (const std::string& algorithm : AllToAlls().Names()) {
          for (const std::string& compressor : Compressors().Names()) {
            SCOPED_TRACE(algorithm + " " + compressor);
            Outcome outcome = Move(algorithm, compressor, topology, random, direction, in);
            const double bound = Compressors().Find(compressor).value()->RelativeErrorBound();
            for (size_t r = 0; r < expected.size(); ++r) {
              ASSERT_EQ(outcome.out[r].size(), expected[r].size());
              for (size_t i = 0; i < expected[r].size(); ++i) {
                ASSERT_LE(std::abs(outcome.out[r][i] - expected[r][i]), bound * std::abs(expected[r][i]));
              }
            }
            if (algorithm == "direct") {
              EXPECT_EQ(outcome.operations, 1);
            }
            if (algorithm == "rails") {
              EXPECT_EQ(outcome.operations, 2);
            }
            if (algorithm == "two_level") {
              EXPECT_EQ(outcome.operations, 3);
            }
          }
        }
      }
    }
  }
}

// Every rank sends to every slot, so that every pair of ranks has something to say.
RandomRoute FullRoute(int ranks) {
  RandomRoute full;
  full.layer.slots.resize(ranks);
  for (int host = 0; host < ranks; ++host) full.layer.slots[host] = {ExpertId(host)};
  for (int source = 0; source < ranks; ++source) {
    for (int e = 0; e < ranks; ++e)
      full.split.shares.push_back({Rank(source), ExpertId(e), Rank(e), 0, 1 + source + 2 * e});
  }
  full.route = MakeRoute(full.split, full.layer);
  return full;
}

TEST(AllToAll, TwoLevelSendsOneMessagePerOrderedPairOfNodes) {
  Rng rng(3);
  for (const Topology& topology : Topologies()) {
    RandomRoute full = FullRoute(topology.ranks());
    for (Direction direction : {Direction::kDispatch, Direction::kCombine}) {
      auto in =
          RandomRows(rng, direction == Direction::kDispatch ? full.route.source_rows : full.route.host_rows);
      std::map<std::pair<NodeId, NodeId>, CommStats> by_nodes[2];
      for (int which = 0; which < 2; ++which) {
        Outcome outcome = Move(which ? "two_level" : "direct", "none", topology, full, direction, in);
        for (int from = 0; from < topology.ranks(); ++from) {
          for (int to = 0; to < topology.ranks(); ++to) {
            NodeId a = topology.node(Rank(from)), b = topology.node(Rank(to));
            if (a == b) continue;
            by_nodes[which][{a, b}].messages_sent += outcome.pairs[from][to].messages_sent;
            by_nodes[which][{a, b}].bytes_sent += outcome.pairs[from][to].bytes_sent;
          }
        }
      }
      for (const auto& [nodes, direct] : by_nodes[0]) {
        const CommStats& two_level = by_nodes[1][nodes];
        EXPECT_EQ(two_level.messages_sent, 1);
        EXPECT_EQ(two_level.bytes_sent, direct.bytes_sent) << "each row crosses between nodes once";
        EXPECT_EQ(direct.messages_sent, static_cast<int64_t>(topology.RanksOf(nodes.first).size() *
                                                             topology.RanksOf(nodes.second).size()));
      }
    }
  }
}

// On the network a rank sends one message to each other node, of what its own rows (back: its own hosts'
// answers) need there, and the bytes are those of direct.
TEST(AllToAll, RailsSendOneMessagePerRankAndOtherNode) {
  Rng rng(5);
  const Topology topology = NodesOf({0, 1, 0, 1, 2, 2});
  const RandomRoute full = FullRoute(topology.ranks());
  for (Direction direction : {Direction::kDispatch, Direction::kCombine}) {
    const auto in =
        RandomRows(rng, direction == Direction::kDispatch ? full.route.source_rows : full.route.host_rows);
    const Outcome direct = Move("direct", "none", topology, full, direction, in),
                  rails = Move("rails", "none", topology, full, direction, in);
    const bool back = direction == Direction::kCombine;
    for (int rank = 0; rank < topology.ranks(); ++rank) {
      for (int node = 0; node < topology.nodes(); ++node) {
        if (topology.node(Rank(rank)) == NodeId(node)) continue;
        const auto pair = [&](const Outcome& outcome, Rank other) {
          return back ? outcome.pairs[other.index()][static_cast<size_t>(rank)]
                      : outcome.pairs[static_cast<size_t>(rank)][other.index()];
        };
        int64_t bytes = 0;
        for (Rank other : topology.RanksOf(NodeId(node))) bytes += pair(direct, other).bytes_sent;
        for (Rank other : topology.RanksOf(NodeId(node))) {
          const bool on_rail = Rails(topology).On(Rank(rank), NodeId(node)) == other;
          EXPECT_EQ(pair(rails, other).messages_sent, on_rail ? 1 : 0) << rank << " and " << other;
          EXPECT_EQ(pair(rails, other).bytes_sent, on_rail ? bytes : 0) << rank << " and " << other;
        }
      }
    }
  }
}

TEST(AllToAll, RailsOfUnequalNodesWrap) {
  const Topology topology = NodesOf({0, 0, 0, 1, 1, 2});
  const Rails rails(topology);
  EXPECT_EQ(rails.On(Rank(0), NodeId(1)), Rank(3));
  EXPECT_EQ(rails.On(Rank(2), NodeId(1)), Rank(3));
  EXPECT_EQ(rails.On(Rank(4), NodeId(0)), Rank(1));
  EXPECT_EQ(rails.On(Rank(4), NodeId(2)), Rank(5));
  EXPECT_EQ(rails.Stops({.from = Rank(1), .to = Rank(3)}, Direction::kDispatch),
            (std::vector<Rank>{Rank(4), Rank(3)}));
  EXPECT_EQ(rails.Stops({.from = Rank(3), .to = Rank(1)}, Direction::kCombine),
            (std::vector<Rank>{Rank(4), Rank(1)}))
      << "back by the way it came";
  EXPECT_EQ(rails.Stops({.from = Rank(1), .to = Rank(2)}, Direction::kDispatch),
            (std::vector<Rank>{Rank(2), Rank(2)}));
  EXPECT_EQ(AllToAlls().Find("rails").value()->Wanted(topology, Rank(3)),
            (std::vector<char>{1, 0, 1, 1, 0, 1}));
}

TEST(AllToAll, LeadersAreSpreadOverTheNode) {
  Topology topology = NodesOf({0, 0, 1, 1, 2, 2, 3, 3});
  std::set<Rank> leaders;
  for (int there = 1; there < 4; ++there) leaders.insert(Leader(topology, NodeId(0), NodeId(there)));
  EXPECT_EQ(leaders, (std::set<Rank>{Rank(0), Rank(1)}));
}

TEST(AllToAll, Bf16HalvesThePayloadAndRoundsLocalRowsToo) {
  Topology topology = NodesOf({0, 0, 0, 1});
  Rng rng(11);
  RandomRoute random = MakeRandomRoute(rng, 4, 6);
  auto in = RandomRows(rng, random.route.source_rows);
  auto expected = Moved(random.route, Direction::kDispatch, in);
  const double bound = Compressors().Find("bf16").value()->RelativeErrorBound();
  EXPECT_EQ(Compressors().Find("none").value()->RelativeErrorBound(), 0);
  for (std::string algorithm : {"direct", "rails", "two_level"}) {
    Outcome none = Move(algorithm, "none", topology, random, Direction::kDispatch, in);
    Outcome bf16 = Move(algorithm, "bf16", topology, random, Direction::kDispatch, in);
    int64_t total = 0;
    for (int from = 0; from < 4; ++from) {
      for (int to = 0; to < 4; ++to) {
        EXPECT_EQ(2 * bf16.pairs[from][to].bytes_sent, none.pairs[from][to].bytes_sent);
        total += bf16.pairs[from][to].bytes_sent;
      }
    }
    int64_t remote_rows = 0;
    for (const RouteSegment& s : random.route.segments) remote_rows += s.source != s.host ? s.rows : 0;
    if (algorithm == "direct") {
      EXPECT_EQ(total, remote_rows * kColumns * 2);
    }
    int changed = 0;
    for (int r = 0; r < 4; ++r) {
      for (size_t i = 0; i < expected[r].size(); ++i) {
        EXPECT_LE(std::abs(bf16.out[r][i] - expected[r][i]), bound * std::abs(expected[r][i]));
        changed += bf16.out[r][i] != expected[r][i];
      }
    }
    EXPECT_GT(changed, 0);
    // A row that stays on its rank has the bits that it would have elsewhere: moving an expert changes
    // nothing.
    for (const RouteSegment& s : random.route.segments) {
      if (s.source != s.host) continue;
      const float value = bf16.out[s.host.index()][s.host_offset * kColumns];
      EXPECT_EQ(std::bit_cast<uint32_t>(value) & 0xffff, 0u);
    }
  }
}

TEST(AllToAll, UnknownNamesAreRefusedWithWhatThereIs) {
  absl::Status status = AllToAlls().Find("ring").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_NE(std::string(status.message()).find("direct, rails, two_level"), std::string::npos) << status;
  EXPECT_NE(std::string(Compressors().Find("zip").status().message()).find("bf16, none"), std::string::npos);
}

TEST(AllToAll, LostPeerEndsTheExchange) {
  Topology topology = NodesOf({0, 1});
  RandomRoute full = FullRoute(2);
  ThreadCommunicatorGroup group(2);
  auto communicator = group.Take(Rank(0));
  group.Kill(Rank(1));
  auto backend = MakeCpuBackend(DType::kFloat32).value();
  auto stream = backend->NewStream();
  AllToAllScratch scratch(*backend);
  std::vector<float> in(full.route.source_rows[0] * kColumns), out(full.route.host_rows[0] * kColumns);
  for (std::string algorithm : {"direct", "rails", "two_level"}) {
    absl::Status status = AllToAlls().Find(algorithm).value()->Exchange(
        {*communicator, *backend, *stream, topology, After(60), scratch}, full.route, Direction::kDispatch,
        *Compressors().Find("none").value(), {in.data(), full.route.source_rows[0], kColumns},
        {out.data(), full.route.host_rows[0], kColumns});
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
  }
}

}  // namespace
}  // namespace ballast
