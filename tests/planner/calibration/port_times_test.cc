// Ports are learned, and slow ones found, from messages of a simulated network.
#include "coordinator/planner/calibration/port_times.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "base/rng.h"
#include "tests/planner/calibration/noise.h"

namespace ballast {
namespace {

using testing::Noisy;

// Each rank has a port to other nodes and one inside its own, both ways apart; flows share ports max-min
// fairly.
struct World {
  int nodes = 4, per_node = 2;
  double between = 2e9, inside = 9e9, latency = 20e-6;  // bytes per second, seconds
  int slow_rank = -1;                                   // its port to other nodes is at half speed

  int ranks() const { return nodes * per_node; }
  std::vector<int> node_of_rank() const {
    std::vector<int> node;
    for (int r = 0; r < ranks(); ++r) node.push_back(r / per_node);
    return node;
  }
};

struct Flow {
  int from, to;
  double bytes, left, end;
  bool inside;
};

// Seconds until each flow is there (progressive filling, from one end of a flow to the next).
void Run(const World& world, std::vector<Flow>& flows) {
  const auto ranks = static_cast<size_t>(world.ranks());
  // [kind * 2 + direction][rank]
  const auto port = [&](const Flow& flow, bool in) {
    return static_cast<size_t>(flow.inside * 2 + in) * ranks + static_cast<size_t>(in ? flow.to : flow.from);
  };
  double now = 0;
  while (std::any_of(flows.begin(), flows.end(), [](const Flow& f) { return f.left > 0; })) {
    std::vector<double> room(4 * ranks);
    for (size_t p = 0; p < room.size(); ++p) {
      const bool slow = p < 2 * ranks && static_cast<int>(p % ranks) == world.slow_rank;
      room[p] = (p < 2 * ranks ? world.between : world.inside) * (slow ? 0.5 : 1);
    }
    std::vector<double> rate(flows.size(), -1);
    while (true) {
      std::vector<int> users(room.size(), 0);
      for (size_t f = 0; f < flows.size(); ++f) {
        if (flows[f].left <= 0 || rate[f] >= 0) continue;
        ++users[port(flows[f], false)];
        ++users[port(flows[f], true)];
      }
      double least = std::numeric_limits<double>::infinity();
      size_t tightest = 0;
      for (size_t p = 0; p < room.size(); ++p) {
        if (users[p] > 0 && room[p] / users[p] < least) {
          least = room[p] / users[p];
          tightest = p;
        }
      }
      if (std::isinf(least)) break;
      for (size_t f = 0; f < flows.size(); ++f) {
        if (flows[f].left <= 0 || rate[f] >= 0) continue;
        if (port(flows[f], false) != tightest && port(flows[f], true) != tightest) continue;
        rate[f] = least;
        room[port(flows[f], false)] -= least;
        room[port(flows[f], true)] -= least;
      }
    }
    double next = std::numeric_limits<double>::infinity();
    for (size_t f = 0; f < flows.size(); ++f) {
      if (flows[f].left > 0) next = std::min(next, flows[f].left / rate[f]);
    }
    now += next;
    for (size_t f = 0; f < flows.size(); ++f) {
      if (flows[f].left <= 0) continue;
      flows[f].left -= rate[f] * next;
      if (flows[f].left > 1e-3) continue;
      flows[f].left = 0;
      flows[f].end = now + world.latency;
    }
  }
}

// One exchange of uneven loads, of which each rank times one message, of another peer in each `turn`.
std::vector<TimedMessage> Exchange(Rng& rng, const World& world, int turn, double bytes = 2e6) {
  std::vector<Flow> flows;
  std::vector<double> wanted;
  for (int r = 0; r < world.ranks(); ++r) wanted.push_back(bytes * std::exp(0.3 * rng.Normal()));
  for (int from = 0; from < world.ranks(); ++from) {
    for (int to = 0; to < world.ranks(); ++to) {
      if (from == to) continue;
      const double size = wanted[static_cast<size_t>(to)] * (0.8 + 0.4 * rng.Uniform());
      flows.push_back({from, to, size, size, 0, from / world.per_node == to / world.per_node});
    }
  }
  Run(world, flows);
  std::vector<TimedMessage> messages;
  for (int to = 0; to < world.ranks(); ++to) {
    const int from = (to + 1 + turn % (world.ranks() - 1)) % world.ranks();
    const auto timed =
        std::find_if(flows.begin(), flows.end(), [&](const Flow& f) { return f.from == from && f.to == to; });
    TimedMessage message{from, to, 0, Noisy(rng, timed->end)};
    for (const Flow& other : flows) {
      if (other.to == to && other.inside == timed->inside)
        message.bytes += std::min(other.bytes, timed->bytes);
    }
    messages.push_back(message);
  }
  return messages;
}

// Two exchanges a step.
std::vector<SlowEvent> RunStep(Rng& rng, const World& world, int step, PortTimes& ports) {
  std::vector<TimedMessage> messages = Exchange(rng, world, 2 * step);
  for (const TimedMessage& message : Exchange(rng, world, 2 * step + 1)) messages.push_back(message);
  return ports.Observe(Step(step), messages);
}

TEST(PortTimes, FindsAPortAtHalfSpeed) {
  for (const int per_node : {1, 2}) {
    for (uint64_t seed = 1; seed <= 4; ++seed) {
      SCOPED_TRACE(::testing::Message() << per_node << " a node, seed " << seed);
      Rng rng(seed);
      World world;
      world.per_node = per_node;
      PortTimes ports(world.node_of_rank());
      for (int step = 1; step <= 200; ++step) {
        ASSERT_TRUE(RunStep(rng, world, step, ports).empty()) << "step " << step;
      }
      EXPECT_NEAR(*ports.between() / world.between, 1, 0.1);
      if (per_node > 1) {
        EXPECT_NEAR(*ports.inside() / world.inside, 1, 0.1);
      } else {
        EXPECT_FALSE(ports.inside()) << "nothing went inside a node";
      }
      world.slow_rank = 1;
      int found = 0;
      for (int step = 201; step <= 500; ++step) {
        for (const SlowEvent& event : RunStep(rng, world, step, ports)) {
          EXPECT_EQ(event.resource, Resource::kPort);
          ASSERT_TRUE(event.slow && event.member == 1) << "step " << step << ", rank " << event.member;
          found = step;
        }
      }
      EXPECT_GT(found, 200);
      EXPECT_LE(found, 260);
      for (int r = 0; r < world.ranks(); ++r)
        EXPECT_NEAR(ports.slowdowns()[static_cast<size_t>(r)], r == 1 ? 2 : 1, r == 1 ? 0.2 : 0) << r;
      EXPECT_NEAR(*ports.between() / world.between, 1, 0.1) << "of healthy ones";
      world.slow_rank = -1;
      bool healed = false;
      for (int step = 501; step <= 800; ++step) {
        for (const SlowEvent& event : RunStep(rng, world, step, ports))
          healed = !event.slow && event.member == 1;
      }
      EXPECT_TRUE(healed);
    }
  }
}

TEST(PortTimes, NoFalseAlarms) {
  for (const int per_node : {1, 2}) {
    Rng rng(90 + static_cast<uint64_t>(per_node));
    World world;
    world.per_node = per_node;
    PortTimes ports(world.node_of_rank());
    for (int step = 1; step <= 2000; ++step)
      ASSERT_TRUE(RunStep(rng, world, step, ports).empty()) << per_node << " a node, step " << step;
  }
}

TEST(PortTimes, SmallMessagesSayNothing) {
  Rng rng(7);
  const World world;
  PortTimes ports(world.node_of_rank());
  for (int step = 1; step <= 100; ++step) {
    std::vector<TimedMessage> messages = Exchange(rng, world, step, 1e4);
    for (TimedMessage& message : messages) message.seconds *= message.from == 2 ? 50 : 1;
    EXPECT_TRUE(ports.Observe(Step(step), messages).empty());
  }
  EXPECT_FALSE(ports.between());
  EXPECT_FALSE(ports.inside());
}

// What probes say is where the class begins, and traffic has the last word.
TEST(PortTimes, ProbesAreThePrior) {
  Rng rng(8);
  const World world;
  PortTimes ports(world.node_of_rank()), unprobed(world.node_of_rank());
  for (int i = 0; i < 12; ++i) ports.ObserveProbe(world.latency, Noisy(rng, world.between / 3));
  EXPECT_FALSE(ports.between()) << "probes alone are told by the link table";
  for (int step = 1; step <= 400; ++step) {
    RunStep(rng, world, step, ports);
    RunStep(rng, world, step, unprobed);
  }
  EXPECT_NEAR(*ports.between() / *unprobed.between(), 1, 0.1);
}

}  // namespace
}  // namespace ballast
