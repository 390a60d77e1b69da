#include "plan/count_sums.h"

#include <cstddef>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace ballast {
namespace {

// InvalidArgument for the first count of a row that cannot be; else adds the row to `total`.
absl::Status CheckRow(const std::vector<int64_t>& row, size_t source, int64_t& total) {
  for (size_t e = 0; e < row.size(); ++e) {
    if (row[e] < 0 || row[e] > kTokensMax - total) {
      return absl::InvalidArgumentError(absl::StrCat("counts[", source, "][", e, "]: found ", row[e],
                                                     ", allowed 0.. and at most ", kTokensMax, " in all"));
    }
    total += row[e];
  }
  return absl::OkStatus();
}

// Of 32 bits: products with them are what processors make several of at once.
void MakeKeys(size_t experts, std::vector<uint64_t>& keys) {
  if (keys.size() == experts) return;
  keys.resize(experts);
  for (size_t e = 0; e < experts; ++e) {
    const uint64_t key = (e + 1) * 0x9e3779b97f4a7c15ull;
    keys[e] = static_cast<uint32_t>((key ^ key >> 32) * 0xd6e8feb86659fd93ull >> 32) | 1;
  }
}

struct RowSum {
  uint64_t bits = 0;  // of all counts
  uint64_t sum = 0;   // modulo 2^64, like what is added to `sums`
  uint64_t hash = 0;
};

#if defined(__SSE2__)
// The first counts of a row, four at once; returns how many. Every x86-64 has this, and compilers do not find
// the product of the lower halves by themselves.
size_t AddFours(const int64_t* row, const uint64_t* keys, size_t experts, int64_t* sums, RowSum& of_row) {
  __m128i bits = _mm_setzero_si128(), sum = bits, hash = bits;
  const auto add = [&](size_t e) {
    const __m128i counts = _mm_loadu_si128(reinterpret_cast<const __m128i*>(row + e));
    const __m128i of_keys = _mm_loadu_si128(reinterpret_cast<const __m128i*>(keys + e));
    __m128i* const into = reinterpret_cast<__m128i*>(sums + e);
    bits = _mm_or_si128(bits, counts);
    sum = _mm_add_epi64(sum, counts);
    _mm_storeu_si128(into, _mm_add_epi64(_mm_loadu_si128(into), counts));
    const __m128i folded = _mm_xor_si128(counts, _mm_srli_epi64(counts, 32));
    hash = _mm_add_epi64(hash, _mm_mul_epu32(folded, of_keys));
  };
  size_t e = 0;
  for (; e + 4 <= experts; e += 4) {
    add(e);
    add(e + 2);
  }
  uint64_t lanes[3][2];
  _mm_storeu_si128(reinterpret_cast<__m128i*>(lanes[0]), bits);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(lanes[1]), sum);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(lanes[2]), hash);
  of_row = {lanes[0][0] | lanes[0][1], lanes[1][0] + lanes[1][1], lanes[2][0] + lanes[2][1]};
  return e;
}
#else
size_t AddFours(const int64_t*, const uint64_t*, size_t, int64_t*, RowSum&) { return 0; }
#endif

// The loop that reads all counts.
RowSum AddRow(const int64_t* row, const uint64_t* keys, size_t experts, int64_t* sums) {
  RowSum of_row;
  for (size_t e = AddFours(row, keys, experts, sums, of_row); e < experts; ++e) {
    const uint64_t count = static_cast<uint64_t>(row[e]);
    of_row.bits |= count;
    of_row.sum += count;
    sums[e] = static_cast<int64_t>(static_cast<uint64_t>(sums[e]) + count);
    of_row.hash += static_cast<uint64_t>(static_cast<uint32_t>(count ^ count >> 32)) * keys[e];
  }
  return of_row;
}

}  // namespace

absl::Status SumCounts(const CountMatrix& counts, int experts, const Topology& topology, CountSums& sums) {
  const size_t width = static_cast<size_t>(experts), nodes = static_cast<size_t>(topology.nodes());
  MakeKeys(width, sums.keys);
  sums.of_node.assign(nodes * width, 0);
  sums.hash = 0;
  int64_t total = 0;
  for (size_t s = 0; s < counts.size(); ++s) {
    const std::vector<int64_t>& row = counts[s];
    if (row.size() != width) {
      return absl::InvalidArgumentError(
          absl::StrCat("counts[", s, "]: found ", row.size(), " experts, allowed is ", experts));
    }
    const RowSum of_row = AddRow(row.data(), sums.keys.data(), width,
                                 sums.of_node.data() + topology.node_of_rank[s].index() * width);
    // A row that could overflow, and only such a one, is looked at count by count.
    const bool small = of_row.bits >> 48 == 0 && width <= 1 << 15;
    if (small && static_cast<int64_t>(of_row.sum) <= kTokensMax - total) {
      total += static_cast<int64_t>(of_row.sum);
    } else {
      BALLAST_RETURN_IF_ERROR(CheckRow(row, s, total));
    }
    sums.hash = (sums.hash ^ of_row.hash) * 0xd6e8feb86659fd93ull;
    sums.hash ^= sums.hash >> 32;
  }
  sums.of_expert.assign(width, 0);
  for (size_t n = 0; n < nodes; ++n) {
    for (size_t e = 0; e < width; ++e) sums.of_expert[e] += sums.of_node[n * width + e];
  }
  return absl::OkStatus();
}

}  // namespace ballast
