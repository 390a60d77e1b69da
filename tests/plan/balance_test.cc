#include "plan/balance.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "tests/plan/fixtures.h"

namespace ballast {
namespace {

using Hosts = std::vector<std::vector<Rank>>;
using ::testing::ElementsAre;

struct Case {
  std::vector<int64_t> tokens;
  Hosts hosts;
  std::vector<uint32_t> speeds;
};

Case RandomCase(Rng& rng, int ranks_max, int experts_max, int64_t tokens_max) {
  Case c;
  const int ranks = static_cast<int>(rng.Between(1, ranks_max));
  const int experts = static_cast<int>(rng.Between(1, experts_max));
  c.speeds = testing::RandomSpeeds(rng, ranks);
  for (int e = 0; e < experts; ++e) {
    c.tokens.push_back(rng.Chance(0.15) ? 0
                                        : rng.Between(0, rng.Chance(0.3) ? tokens_max : 1 + tokens_max / 5));
    std::vector<Rank> hosts;
    const double chance = rng.Uniform();
    for (int r = 0; r < ranks; ++r) {
      if (rng.Chance(chance)) hosts.push_back(Rank(r));
    }
    if (hosts.empty()) hosts.push_back(Rank(static_cast<int32_t>(rng.Below(ranks))));
    c.hosts.push_back(hosts);
  }
  return c;
}

// The busiest rank by tokens / speed, as a fraction.
struct Busiest {
  int64_t tokens = 0;
  int64_t speed = 1;
};
Busiest FindBusiest(const std::vector<int64_t>& rank_tokens, const std::vector<uint32_t>& speeds) {
  Busiest busiest;
  for (size_t r = 0; r < speeds.size(); ++r) {
    if (static_cast<__int128>(rank_tokens[r]) * busiest.speed >
        static_cast<__int128>(busiest.tokens) * speeds[r]) {
      busiest = {rank_tokens[r], speeds[r]};
    }
  }
  return busiest;
}

void ExpectDivision(const Case& c, const Quotas& quotas) {
  ASSERT_EQ(quotas.size(), c.tokens.size());
  for (size_t e = 0; e < quotas.size(); ++e) {
    ASSERT_EQ(quotas[e].size(), c.hosts[e].size());
    int64_t sum = 0;
    for (int64_t part : quotas[e]) {
      EXPECT_GE(part, 0);
      sum += part;
    }
    EXPECT_EQ(sum, c.tokens[e]);
  }
}

// Tries every division of every expert's tokens, one token at a time.
bool CanStayBelow(const Case& c, const Busiest& bound, size_t expert, int64_t left, size_t host,
                  std::vector<int64_t>& held) {
  if (left == 0) {
    if (expert + 1 == c.tokens.size()) return true;
    return CanStayBelow(c, bound, expert + 1, c.tokens[expert + 1], 0, held);
  }
  for (; host < c.hosts[expert].size(); ++host) {
    const size_t g = c.hosts[expert][host].index();
    const bool below = (held[g] + 1) * bound.speed < bound.tokens * static_cast<int64_t>(c.speeds[g]);
    if (!below) continue;
    ++held[g];
    if (CanStayBelow(c, bound, expert, left - 1, host, held)) return true;
    --held[g];
  }
  return false;
}

TEST(Balance, NoDivisionIsBetterByEnumeration) {
  const uint64_t seed = 71;
  Rng rng(seed);
  for (int round = 0; round < 3000; ++round) {
    SCOPED_TRACE("seed " + std::to_string(seed) + " round " + std::to_string(round));
    const Case c = RandomCase(rng, 4, 4, 6);
    const Quotas quotas = BalanceExactly(c.tokens, c.hosts, c.speeds);
    ExpectDivision(c, quotas);
    const Busiest busiest =
        FindBusiest(RankTokens(quotas, c.hosts, static_cast<int>(c.speeds.size())), c.speeds);
    if (busiest.tokens == 0) continue;
    std::vector<int64_t> held(c.speeds.size(), 0);
    ASSERT_FALSE(CanStayBelow(c, busiest, 0, c.tokens[0], 0, held));
  }
}

// Hall's theorem: loads below the bound exist if and only if every set of experts fits on its hosts below the
// bound.
TEST(Balance, SomeExpertsFillTheirHostsAtTheOptimum) {
  const uint64_t seed = 72;
  Rng rng(seed);
  for (int round = 0; round < 6000; ++round) {
    SCOPED_TRACE("seed " + std::to_string(seed) + " round " + std::to_string(round));
    const Case c = RandomCase(rng, 8, 9, rng.Chance(0.5) ? 40 : 1000000000);
    const Quotas quotas = BalanceExactly(c.tokens, c.hosts, c.speeds);
    ExpectDivision(c, quotas);
    const Busiest busiest =
        FindBusiest(RankTokens(quotas, c.hosts, static_cast<int>(c.speeds.size())), c.speeds);
    if (busiest.tokens == 0) continue;
    // Most tokens that each rank could take and stay strictly below the busiest.
    std::vector<int64_t> room;
    for (uint32_t speed : c.speeds) {
      const __int128 product = static_cast<__int128>(busiest.tokens) * speed;
      room.push_back(static_cast<int64_t>((product + busiest.speed - 1) / busiest.speed) - 1);
    }
    bool tight = false;
    for (unsigned set = 1; set < 1u << c.tokens.size() && !tight; ++set) {
      int64_t tokens = 0, places = 0;
      std::vector<char> host(c.speeds.size(), 0);
      for (size_t e = 0; e < c.tokens.size(); ++e) {
        if (!(set >> e & 1)) continue;
        tokens += c.tokens[e];
        for (Rank rank : c.hosts[e]) host[rank.index()] = 1;
      }
      for (size_t r = 0; r < host.size(); ++r) places += host[r] ? room[r] : 0;
      tight = tokens > places;
    }
    ASSERT_TRUE(tight) << "a busiest rank of " << busiest.tokens << " / " << busiest.speed
                       << " is not the optimum";
  }
}

TEST(Balance, HandCases) {
  const auto ranks = [](std::vector<int> list) {
    std::vector<Rank> out;
    for (int r : list) out.push_back(Rank(r));
    return out;
  };
  // Expert 0 must use rank 0, expert 1 may use both: the second rank takes nearly all of it.
  Quotas q = BalanceExactly({60, 50}, {ranks({0}), ranks({0, 1})}, {1, 1});
  EXPECT_THAT(q, ElementsAre(ElementsAre(60), ElementsAre(0, 50)));
  // A chain: only moving expert 1 off rank 1 lets expert 0 use it.
  q = BalanceExactly({20, 10, 0}, {ranks({0, 1}), ranks({1, 2}), ranks({2})}, {1, 1, 1});
  EXPECT_THAT(RankTokens(q, {ranks({0, 1}), ranks({1, 2}), ranks({2})}, 3), ElementsAre(10, 10, 10));
  // Speed 3 takes three quarters.
  q = BalanceExactly({100}, {ranks({0, 1})}, {3, 1});
  EXPECT_THAT(q, ElementsAre(ElementsAre(75, 25)));
  // No tokens at all.
  q = BalanceExactly({0, 0}, {ranks({0, 1}), ranks({})}, {1, 1});
  EXPECT_THAT(q, ElementsAre(ElementsAre(0, 0), ElementsAre()));
}

TEST(Balance, LargestAllowedLoadsDoNotOverflow) {
  const int ranks = 64;
  std::vector<Rank> all;
  for (int r = 0; r < ranks; ++r) all.push_back(Rank(r));
  std::vector<uint32_t> speeds(ranks, 1);
  speeds[5] = ~uint32_t{0};
  const int64_t half = kTokensMax / 2;
  const Quotas q = BalanceExactly({half, half}, {all, all}, speeds);
  const auto tokens = RankTokens(q, {all, all}, ranks);
  EXPECT_EQ(std::accumulate(tokens.begin(), tokens.end(), int64_t{0}), kTokensMax);
  // Every slow rank has 1 part of 2^32 - 1 + 63.
  for (int r = 0; r < ranks; ++r) {
    const double expected =
        r == 5 ? static_cast<double>(kTokensMax) : static_cast<double>(kTokensMax) / 4294967358.0;
    EXPECT_NEAR(static_cast<double>(tokens[r]), expected, r == 5 ? 1e7 : 1.0) << r;
  }
}

TEST(Balance, LargeCasesAreBalancedToTheToken) {
  Rng rng(74);
  // 64 ranks, 256 experts, 5 slots: all copies make one connected web, so the optimum is the mean.
  LayerPlan layer;
  layer.slots.assign(64, std::vector<Slot>(5));
  for (int r = 0; r < 64; ++r) {
    for (int i = 0; i < 5; ++i) layer.slots[r][i] = ExpertId((r * 4 + i) % 256);
  }
  std::vector<int64_t> tokens;
  for (int e = 0; e < 256; ++e) tokens.push_back(rng.Between(90, 110));
  const int64_t total = std::accumulate(tokens.begin(), tokens.end(), int64_t{0});
  const auto hosts = layer.Hosts(256);
  const auto held = RankTokens(BalanceExactly(tokens, hosts, std::vector<uint32_t>(64, 65536)), hosts, 64);
  EXPECT_EQ(*std::max_element(held.begin(), held.end()), (total + 63) / 64);
}

}  // namespace
}  // namespace ballast
