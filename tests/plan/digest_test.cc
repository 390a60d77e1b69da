#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <set>

#include "absl/strings/escaping.h"
#include "plan/plan.h"

namespace ballast {
namespace {

Plan SmallPlan() {
  Plan plan;
  plan.stamp = {JobId("demo"), Generation(2), PlanVersion(3), PlanVersion(1), Step(70)};
  plan.body.homes = {Rank(0), Rank(1), Rank(1)};
  plan.body.speeds = {65536, 32768};
  LayerPlan layer;
  layer.slots = {{ExpertId(1), std::nullopt}, {ExpertId(0), ExpertId(1)}};
  layer.split = {SplitKind::kFractions, {{16384, 0}, {65536, 49152}}};
  layer.schedule = {"two_level", 2, "grouped", "bf16", "none"};
  plan.body.layers = {layer};
  plan.body.reason = "why";
  plan.body.predicted_step_seconds = 0.25;
  return plan;
}

// Any change here changes every digest: workers and coordinators of two builds would refuse each other's
// plans.
TEST(Digest, CanonicalBytesAreStable) {
  EXPECT_EQ(absl::BytesToHexString(CanonicalBytes(SmallPlan())),
            "040000000000000064656d6f020000000000000003000000000000000100000000000000460000000000000003000000"
            "000000000000000001000000010000000200000000000000000001000080000001000000000000000200000000000000"
            "020000000000000001010000000000000000020000000000000001000000000101000000020200000000000000020000"
            "0000000000004000000000000002000000000000000000010000c00000090000000000000074776f5f6c6576656c0200"
            "0000070000000000000067726f7570656404000000000000006266313604000000000000006e6f6e6503000000000000"
            "00776879000000000000d03f");
  EXPECT_EQ(Digest(SmallPlan()).value(), 0xa6beb5ff52e72215ull);
}

TEST(Digest, EveryFieldCounts) {
  using Change = std::function<void(Plan&)>;
  const std::vector<Change> changes = {
      [](Plan& p) { p.stamp.job = JobId("demp"); },
      [](Plan& p) { p.stamp.generation = Generation(3); },
      [](Plan& p) { p.stamp.version = PlanVersion(4); },
      [](Plan& p) { p.stamp.base_version = PlanVersion(2); },
      [](Plan& p) { p.stamp.not_before_step = Step(71); },
      [](Plan& p) { p.body.homes[1] = Rank(0); },
      [](Plan& p) { p.body.homes.pop_back(); },
      [](Plan& p) { p.body.speeds[1] = 32769; },
      [](Plan& p) { p.body.speeds.push_back(1); },
      [](Plan& p) { p.body.layers.clear(); },
      [](Plan& p) { p.body.layers.push_back(p.body.layers[0]); },
      [](Plan& p) { p.body.layers[0].slots[0][0] = ExpertId(0); },
      [](Plan& p) { p.body.layers[0].slots[0][0] = std::nullopt; },
      [](Plan& p) { p.body.layers[0].slots[0][1] = ExpertId(0); },
      [](Plan& p) { p.body.layers[0].slots[0].pop_back(); },
      [](Plan& p) { std::swap(p.body.layers[0].slots[0], p.body.layers[0].slots[1]); },
      [](Plan& p) { p.body.layers[0].split.kind = SplitKind::kEven; },
      [](Plan& p) { p.body.layers[0].split.fractions[1][1] = 49153; },
      [](Plan& p) { p.body.layers[0].split.fractions.clear(); },
      [](Plan& p) { p.body.layers[0].schedule.all_to_all = "direct"; },
      [](Plan& p) { p.body.layers[0].schedule.chunks = 3; },
      [](Plan& p) { p.body.layers[0].schedule.task_order = "other"; },
      [](Plan& p) { p.body.layers[0].schedule.dispatch_compressor = "none"; },
      [](Plan& p) { p.body.layers[0].schedule.combine_compressor = "bf16"; },
      [](Plan& p) { p.body.reason = "why?"; },
      [](Plan& p) { p.body.predicted_step_seconds = 0.5; },
      // The same letters, cut elsewhere.
      [](Plan& p) {
        p.body.layers[0].schedule.dispatch_compressor = "bf1";
        p.body.layers[0].schedule.combine_compressor = "6none";
      },
  };
  std::set<uint64_t> digests = {Digest(SmallPlan()).value()};
  std::set<std::string> encodings = {CanonicalBytes(SmallPlan())};
  for (size_t i = 0; i < changes.size(); ++i) {
    Plan plan = SmallPlan();
    changes[i](plan);
    ASSERT_FALSE(plan == SmallPlan()) << "change " << i << " changes nothing";
    EXPECT_TRUE(digests.insert(Digest(plan).value()).second) << "change " << i;
    EXPECT_TRUE(encodings.insert(CanonicalBytes(plan)).second) << "change " << i;
  }
}

TEST(Digest, EqualPlansHaveEqualBytes) {
  Plan a = SmallPlan();
  Plan b = SmallPlan();
  a.body.predicted_step_seconds = 0.0;
  b.body.predicted_step_seconds = -0.0;
  ASSERT_TRUE(a == b);
  EXPECT_EQ(CanonicalBytes(a), CanonicalBytes(b));
  EXPECT_EQ(Digest(a), Digest(b));
}

}  // namespace
}  // namespace ballast
