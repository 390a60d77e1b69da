#include "bench/moe_layer/inputs.h"

#include <cmath>
#include <cstring>
#include <thread>

namespace ballast::bench {
namespace {

constexpr int kBiasColumns = 3;
constexpr int64_t kXLevels = 16;  // x is in -16..16 eighths

uint64_t SplitMix64(uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

int64_t Upper16(Kind kind, int index, int64_t element) {
  const uint64_t tensor = static_cast<uint64_t>(kind) * 1000 + static_cast<uint64_t>(index);
  return static_cast<int64_t>(SplitMix64((tensor << 40) + static_cast<uint64_t>(element)) >> 48);
}

// Uniform in -levels..levels.
int64_t Level(int64_t upper16, int64_t levels) { return ((upper16 * (2 * levels + 1)) >> 16) - levels; }

uint16_t ToBits(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);  // to nearest even
}

// The router's weights are in -levels..levels times 2^-8: such that a logit has a standard deviation near 1.
int64_t RouterLevels(const LayerCase& c) {
  const double x_deviation = std::sqrt(kXLevels * (kXLevels + 1) / 3.0) / 8;
  const double deviation = 256 / (x_deviation * std::sqrt(static_cast<double>(c.hidden)));
  return std::max<int64_t>(1, std::llround(std::sqrt(3 * deviation * deviation + 0.25) - 0.5));
}

// Calls fill(begin, end) for parts of 0..elements - 1, on as many threads as help.
template <class Fill>
Values Make(int64_t elements, const Fill& fill) {
  Values values(static_cast<size_t>(elements));
  const int64_t parts = elements < (1 << 20) ? 1 : 8;
  std::vector<std::thread> threads;
  for (int64_t p = 0; p < parts; ++p) {
    threads.emplace_back([&, p] {
      for (int64_t i = elements * p / parts; i < elements * (p + 1) / parts; ++i) values[i] = fill(i);
    });
  }
  for (std::thread& thread : threads) thread.join();
  return values;
}

Values MakeUniform(Kind kind, int index, int64_t elements, double bound) {
  const auto scale = static_cast<float>(bound / 32768);
  return Make(elements,
              [=](int64_t i) { return ToBits(static_cast<float>(Upper16(kind, index, i) - 32768) * scale); });
}

}  // namespace

Values MakeX(const LayerCase& c, int rank) {
  return Make(c.tokens * c.hidden, [&, rank](int64_t i) {
    if (i % c.hidden < kBiasColumns) return ToBits(1);
    return ToBits(static_cast<float>(Level(Upper16(Kind::kX, rank, i), kXLevels)) / 8);
  });
}

Values MakeOutGradient(const LayerCase& c, int rank) {
  return MakeUniform(Kind::kOutGradient, rank, c.tokens * c.hidden, 1);
}

Values MakeRouter(const LayerCase& c) {
  const int64_t levels = RouterLevels(c);
  return Make(c.experts * c.hidden, [&](int64_t i) {
    const auto expert = static_cast<int>(i / c.hidden);
    const int64_t column = i % c.hidden;
    if (column >= kBiasColumns) {
      return ToBits(static_cast<float>(Level(Upper16(Kind::kRouter, 0, i), levels)) / 256);
    }
    // The bias in units of 2^-18: 2^-11 times an integer, then the expert's number; 7 bits to a column.
    const int64_t bias = std::llround(LogitBias(c, expert) * 2048) * 128 + expert;
    const int64_t high = bias >> 14;
    const int64_t part = column == 0 ? high * 16384 : column == 1 ? (bias >> 7 & 127) * 128 : bias & 127;
    return ToBits(static_cast<float>(part) * 0x1p-18f);
  });
}

Values MakeWeight(const LayerCase& c, Kind kind, int expert) {
  const int64_t inner = kind == Kind::kW2 ? c.intermediate : c.hidden;
  return MakeUniform(kind, expert, c.hidden * c.intermediate, std::sqrt(3.0 / static_cast<double>(inner)));
}

float FromBits(uint16_t bits) {
  const uint32_t wide = uint32_t{bits} << 16;
  float value;
  std::memcpy(&value, &wide, sizeof(value));
  return value;
}

}  // namespace ballast::bench
