#include "tests/worker/checkpoint/independent_sha256.h"

#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>

namespace ballast {
namespace {

constexpr int kRounds = 64;

bool IsPrime(int number) {
  for (int divisor = 2; divisor * divisor <= number; ++divisor)
    if (number % divisor == 0) return false;
  return true;
}

// The first 32 bits of the fractional part of a root of the i-th prime: the standard's constants (4.2.2 with
// cube roots, 5.3.3 with square roots). A long double of 64 bits has enough of them.
template <size_t n, class Root>
std::array<uint32_t, n> Constants(Root root) {
  std::array<uint32_t, n> constants{};
  int prime = 2;
  for (size_t i = 0; i < n; ++prime) {
    if (!IsPrime(prime)) continue;
    const long double value = root(static_cast<long double>(prime));
    constants[i++] = static_cast<uint32_t>((value - std::floor(value)) * 4294967296.0L);
  }
  return constants;
}

}  // namespace

std::string IndependentSha256(const std::string& bytes) {
  const auto k = Constants<kRounds>([](long double prime) { return std::cbrt(prime); });
  auto hash = Constants<8>([](long double prime) { return std::sqrt(prime); });

  std::string text = bytes;
  text.push_back('\x80');
  while (text.size() % 64 != 56) text.push_back('\0');
  for (int shift = 56; shift >= 0; shift -= 8)
    text.push_back(static_cast<char>((static_cast<uint64_t>(bytes.size()) * 8) >> shift));

  for (size_t block = 0; block < text.size(); block += 64) {
    std::array<uint32_t, kRounds> w{};
    for (size_t i = 0; i < 64; ++i) w[i / 4] = (w[i / 4] << 8) | static_cast<unsigned char>(text[block + i]);
    for (size_t t = 16; t < kRounds; ++t) {
      const uint32_t a = w[t - 15], b = w[t - 2];
      w[t] = (std::rotr(b, 17) ^ std::rotr(b, 19) ^ (b >> 10)) + w[t - 7] +
             (std::rotr(a, 7) ^ std::rotr(a, 18) ^ (a >> 3)) + w[t - 16];
    }
    auto v = hash;  // a to h
    for (size_t t = 0; t < kRounds; ++t) {
      const uint32_t sum1 = std::rotr(v[4], 6) ^ std::rotr(v[4], 11) ^ std::rotr(v[4], 25);
      const uint32_t chosen = (v[4] & v[5]) ^ (~v[4] & v[6]);
      const uint32_t first = v[7] + sum1 + chosen + k[t] + w[t];
      const uint32_t sum0 = std::rotr(v[0], 2) ^ std::rotr(v[0], 13) ^ std::rotr(v[0], 22);
      const uint32_t majority = (v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]);
      for (size_t i = 7; i > 0; --i) v[i] = v[i - 1];
      v[4] += first;
      v[0] = first + sum0 + majority;
    }
    for (size_t i = 0; i < 8; ++i) hash[i] += v[i];
  }

  std::string digest;
  for (uint32_t word : hash)
    for (int shift = 28; shift >= 0; shift -= 4) digest.push_back("0123456789abcdef"[(word >> shift) & 15]);
  return digest;
}

}  // namespace ballast
