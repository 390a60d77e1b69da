#include "base/rng.h"

#include <gtest/gtest.h>

#include <set>

#include "base/math.h"

namespace ballast {
namespace {

// The published sequence of SplitMix64 for this seed; data order and initial weights hang on it.
TEST(Rng, GoldenSequence) {
  Rng rng(1234567);
  EXPECT_EQ(rng.Next(), 6457827717110365317ull);
  EXPECT_EQ(rng.Next(), 3203168211198807973ull);
  EXPECT_EQ(rng.Next(), 9817491932198370423ull);
  EXPECT_EQ(rng.Next(), 4593380528125082431ull);
  EXPECT_EQ(rng.Next(), 16408922859458223821ull);
  EXPECT_EQ(Rng(0).Next(), 0xe220a8397b1dcdafull);
}

TEST(Rng, GoldenSeeds) {
  EXPECT_EQ(HashSeed({}), 0xc0e16b163a85a4dcull);
  EXPECT_EQ(HashSeed({1, 2, 3}), 0xe22f5d5f7333531eull);
  EXPECT_EQ(HashSeed({3, 2, 1}), 0x1a27a50a348f63dull);
}

TEST(Rng, SeedsOfNeighboursDiffer) {
  std::set<uint64_t> seeds;
  for (uint64_t step = 0; step < 100; ++step) {
    for (uint64_t index = 0; index < 100; ++index) seeds.insert(HashSeed({7, step, index}));
  }
  EXPECT_EQ(seeds.size(), 10000u);
}

TEST(Rng, DerivedNumbersAreTheSameEverywhere) {
  Rng rng(42);
  EXPECT_EQ(rng.Below(1000), 741u);
  EXPECT_EQ(rng.Between(-5, 5), -4);
  EXPECT_EQ(rng.Uniform(), 0x1.1d499d5c4c3e6p-2);
  EXPECT_NEAR(rng.Normal(), 0.892470392690831, 1e-14);  // libm may differ in the last bits
}

TEST(Rng, RangesAreKeptAndReached) {
  Rng rng(99);
  std::set<int64_t> seen;
  double sum = 0, squares = 0;
  for (int i = 0; i < 20000; ++i) {
    seen.insert(rng.Between(-2, 2));
    const double u = rng.Uniform();
    ASSERT_TRUE(u >= 0 && u < 1);
    const double n = rng.Normal();
    sum += n;
    squares += n * n;
  }
  EXPECT_EQ(seen, (std::set<int64_t>{-2, -1, 0, 1, 2}));
  EXPECT_NEAR(sum / 20000, 0, 0.03);
  EXPECT_NEAR(squares / 20000, 1, 0.05);
  EXPECT_EQ(rng.Below(1), 0u);
  EXPECT_FALSE(rng.Chance(0));
  EXPECT_TRUE(rng.Chance(1));
}

TEST(Math, PartsTileTheWhole) {
  for (int64_t total = 0; total <= 20; ++total) {
    for (int64_t parts = 1; parts <= 7; ++parts) {
      EXPECT_EQ(PartBegin(total, parts, 0), 0);
      EXPECT_EQ(PartBegin(total, parts, parts), total);
      for (int64_t i = 0; i < parts; ++i) {
        const int64_t length = PartBegin(total, parts, i + 1) - PartBegin(total, parts, i);
        EXPECT_TRUE(length == total / parts || length == total / parts + 1);
      }
    }
  }
  EXPECT_EQ(CeilDiv(0, 3), 0);
  EXPECT_EQ(CeilDiv(6, 3), 2);
  EXPECT_EQ(CeilDiv(7, 3), 3);
  EXPECT_EQ(DivExact(12, 4), 3);
}

TEST(MathDeathTest, DivExactWantsNoRemainder) { EXPECT_DEATH(DivExact(7, 2), "7 is no multiple of 2"); }

}  // namespace
}  // namespace ballast
