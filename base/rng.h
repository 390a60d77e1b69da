// Random numbers that are a function of their seed alone, on every machine and compiler (<random>'s distributions are not).
#pragma once

#include <cmath>
#include <cstdint>
#include <initializer_list>

namespace ballast {

// One step of SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", OOPSLA 2014).
constexpr uint64_t SplitMix64(uint64_t& state) {
  state += 0x9e3779b97f4a7c15ull;
  uint64_t z = state;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return z ^ (z >> 31);
}

// A 64-bit hash of a list of integers: the way to derive independent seeds, as in Rng(HashSeed({seed, step, index})).
constexpr uint64_t HashSeed(std::initializer_list<uint64_t> words) {
  uint64_t state = 0x2545f4914f6cdd1dull;
  for (uint64_t word : words) {
    state ^= word;
    state = SplitMix64(state);
  }
  return SplitMix64(state);
}

// A small seeded generator. Not thread-safe, not for secrets.
class Rng {
 public:
  explicit Rng(uint64_t seed) : state_(seed) {}
  uint64_t Next() { return SplitMix64(state_); }
  // Uniform in [0, bound). Requires bound > 0. The bias is below bound / 2^64.
  uint64_t Below(uint64_t bound) {
    return static_cast<uint64_t>((static_cast<unsigned __int128>(Next()) * bound) >> 64);
  }
  // Uniform integer in [low, high], both included.
  int64_t Between(int64_t low, int64_t high) {
    return low + static_cast<int64_t>(Below(static_cast<uint64_t>(high - low) + 1));
  }
  // Uniform in [0, 1) with 53 bits.
  double Uniform() { return static_cast<double>(Next() >> 11) * 0x1.0p-53; }
  bool Chance(double probability) { return Uniform() < probability; }
  // Normal with mean 0 and variance 1 (Box and Muller).
  double Normal() {
    double u = 1.0 - Uniform();  // in (0, 1]
    double v = Uniform();
    return std::sqrt(-2.0 * std::log(u)) * std::cos(6.283185307179586 * v);
  }

 private:
  uint64_t state_;
};

}  // namespace ballast
