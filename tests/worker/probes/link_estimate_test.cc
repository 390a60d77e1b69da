#include "worker/probes/link_estimate.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "base/rng.h"

namespace ballast {
namespace {

TEST(LinkEstimate, FindsLatencyAndBandwidth) {
  for (const double latency : {1e-6, 5e-5, 2e-3}) {
    for (const double bandwidth : {1e6, 1e8, 2.5e10}) {
      std::vector<ProbeSample> samples;
      for (int64_t bytes : kProbeSizes) {
        samples.push_back({bytes, 2 * latency + static_cast<double>(bytes) / bandwidth});
      }
      const LinkEstimate link = EstimateLink(samples);
      EXPECT_NEAR(link.bytes_per_second / bandwidth, 1, 1e-6);
      EXPECT_NEAR(link.latency_seconds / latency, 1, 1e-3) << bandwidth;
    }
  }
}

TEST(LinkEstimate, WhatDisturbsMessagesHardlyCounts) {
  constexpr uint64_t kSeed = 7;
  SCOPED_TRACE(kSeed);
  Rng rng(kSeed);
  for (int round = 0; round < 100; ++round) {
    std::vector<ProbeSample> samples;
    for (int64_t bytes : kProbeSizes) {
      // Half of the messages wait, up to as long as the largest one takes; the largest is sent once.
      const double clean = 1e-4 + static_cast<double>(bytes) / 1e9;
      const bool late = bytes < kProbeBytesMax && samples.size() % 2 == 0;
      samples.push_back({bytes, clean + (late ? 1e-2 * rng.Uniform() : 0)});
    }
    const LinkEstimate link = EstimateLink(samples);
    EXPECT_NEAR(link.bytes_per_second / 1e9, 1, 0.01);
    EXPECT_NEAR(link.latency_seconds, 5e-5, 1e-6);
  }
}

TEST(LinkEstimate, ALargeMessageThatIsNoSlowerGivesAFiniteAnswer) {
  const LinkEstimate link = EstimateLink({{8 << 10, 2e-3}, {64 << 10, 1e-3}});
  EXPECT_DOUBLE_EQ(link.bytes_per_second, (64 << 10) / 1e-3);
  EXPECT_GT(link.latency_seconds, 0);
  EXPECT_LT(link.latency_seconds, 1e-3);
}

std::vector<Member> Nodes(int nodes, int workers_per_node) {
  std::vector<Member> members;
  for (int n = 0; n < nodes; ++n) {
    for (int w = 0; w < workers_per_node; ++w) {
      Member member;
      member.rank = Rank(static_cast<int>(members.size()));
      member.worker = WorkerId("w" + std::to_string(members.size()));
      member.node = "n" + std::to_string(n);
      member.probe_address = "10.0.0." + std::to_string(n) + ":9";
      members.push_back(member);
    }
  }
  return members;
}

TEST(ProbeDuty, EveryPairOfNodesHasOneProber) {
  for (int nodes : {1, 2, 3, 8, 17}) {
    const std::vector<Member> members = Nodes(nodes, 2);
    std::map<std::pair<int, int>, int> probed;  // pairs of first ranks, the lower first
    std::set<size_t> burdens;
    std::set<std::string> first_targets;
    for (const Member& member : members) {
      const ProbeDuty duty = ProbeDutyOf(members, member.worker);
      if (member.rank.value() % 2 == 1) {
        EXPECT_TRUE(duty.targets.empty()) << "speaks for no node";
        continue;
      }
      EXPECT_EQ(duty.self, member.rank);
      burdens.insert(duty.targets.size());
      if (!duty.targets.empty()) first_targets.insert(duty.targets[0].address);
      for (const ProbeTarget& target : duty.targets) {
        const auto [low, high] = std::minmax({duty.self.value(), target.rank.value()});
        ++probed[{low, high}];
      }
    }
    EXPECT_EQ(static_cast<int>(probed.size()), nodes * (nodes - 1) / 2);
    for (const auto& [pair, times] : probed) EXPECT_EQ(times, 1) << pair.first << " " << pair.second;
    EXPECT_LE(*burdens.rbegin() - *burdens.begin(), 1u) << "the work is shared";
    if (nodes > 3) {
      EXPECT_GT(first_targets.size(), static_cast<size_t>(nodes) / 2) << "they do not all begin alike";
    }
  }
}

TEST(ProbeDuty, WhoHasNoAddressIsLeftOut) {
  std::vector<Member> members = Nodes(2, 1);
  for (Member& member : members) member.probe_address.clear();
  EXPECT_TRUE(ProbeDutyOf(members, WorkerId("w0")).targets.empty());
  EXPECT_TRUE(ProbeDutyOf(members, WorkerId("w1")).targets.empty());
}

}  // namespace
}  // namespace ballast
