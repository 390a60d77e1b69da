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

// Rows of one node, read side by side: their sums are loaded and stored once.
constexpr size_t kRows = 4;

struct RowsSum {
  uint64_t bits = 0;
  uint64_t sum = 0;
  uint64_t hash[kRows] = {};
};

RowsSum AddRows(const int64_t* const (&rows)[kRows], const uint64_t* keys, size_t experts, int64_t* sums) {
  RowsSum of_rows;
  size_t e = 0;
#if defined(__SSE2__)
  // Registers of twice this width are no faster here: a core that has not used them lately takes longer to
  // wake them than all of this.
  const int64_t *const a = rows[0], *const b = rows[1], *const c = rows[2], *const d = rows[3];
  __m128i bits = _mm_setzero_si128(), sum = bits, hash[kRows] = {bits, bits, bits, bits};
  const auto load = [](const void* from) { return _mm_loadu_si128(static_cast<const __m128i*>(from)); };
  for (; e + 2 <= experts; e += 2) {
    const __m128i of_keys = load(keys + e);
    const __m128i in_a = load(a + e), in_b = load(b + e), in_c = load(c + e), in_d = load(d + e);
    bits = _mm_or_si128(bits, _mm_or_si128(_mm_or_si128(in_a, in_b), _mm_or_si128(in_c, in_d)));
    const __m128i all = _mm_add_epi64(_mm_add_epi64(in_a, in_b), _mm_add_epi64(in_c, in_d));
    sum = _mm_add_epi64(sum, all);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(sums + e), _mm_add_epi64(load(sums + e), all));
    // The lower halves alone: right while the upper ones are 0.
    hash[0] = _mm_add_epi64(hash[0], _mm_mul_epu32(in_a, of_keys));
    hash[1] = _mm_add_epi64(hash[1], _mm_mul_epu32(in_b, of_keys));
    hash[2] = _mm_add_epi64(hash[2], _mm_mul_epu32(in_c, of_keys));
    hash[3] = _mm_add_epi64(hash[3], _mm_mul_epu32(in_d, of_keys));
  }
  const auto both = [](__m128i lanes) {
    return static_cast<uint64_t>(_mm_cvtsi128_si64(lanes)) +
           static_cast<uint64_t>(_mm_cvtsi128_si64(_mm_unpackhi_epi64(lanes, lanes)));
  };
  of_rows.bits = static_cast<uint64_t>(_mm_cvtsi128_si64(_mm_or_si128(bits, _mm_unpackhi_epi64(bits, bits))));
  of_rows.sum = both(sum);
  for (size_t r = 0; r < kRows; ++r) of_rows.hash[r] = both(hash[r]);
#endif
  for (size_t r = 0; r < kRows; ++r) {
    for (size_t i = e; i < experts; ++i) {
      const uint64_t count = static_cast<uint64_t>(rows[r][i]);
      of_rows.bits |= count;
      of_rows.sum += count;
      sums[i] = static_cast<int64_t>(static_cast<uint64_t>(sums[i]) + count);
      of_rows.hash[r] += static_cast<uint64_t>(static_cast<uint32_t>(count)) * keys[i];
    }
  }
  if (of_rows.bits >> 32 == 0) return of_rows;
  for (size_t r = 0; r < kRows; ++r) {
    of_rows.hash[r] = 0;
    for (size_t i = 0; i < experts; ++i) {
      const uint64_t count = static_cast<uint64_t>(rows[r][i]);
      of_rows.hash[r] += static_cast<uint64_t>(static_cast<uint32_t>(count ^ count >> 32)) * keys[i];
    }
  }
  return of_rows;
}

}  // namespace

absl::Status SumCounts(const CountMatrix& counts, int experts, const Topology& topology, CountSums& sums) {
  const size_t width = static_cast<size_t>(experts), nodes = static_cast<size_t>(topology.nodes());
  MakeKeys(width, sums.keys);
  sums.of_node.assign(nodes * width, 0);
  sums.hash = 0;
  int64_t total = 0;
  const auto mix = [&](uint64_t of_row) {
    sums.hash = (sums.hash ^ of_row) * 0xd6e8feb86659fd93ull;
    sums.hash ^= sums.hash >> 32;
  };
  for (size_t s = 0; s < counts.size();) {
    const NodeId node = topology.node_of_rank[s];
    int64_t* const of_node = sums.of_node.data() + node.index() * width;
    const int64_t* rows[kRows];
    size_t found = 0;
    while (found < kRows && s + found < counts.size() && topology.node_of_rank[s + found] == node &&
           counts[s + found].size() == width) {
      rows[found] = counts[s + found].data();
      ++found;
    }
    if (found == 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("counts[", s, "]: found ", counts[s].size(), " experts, allowed is ", experts));
    }
    uint64_t bits = 0, sum = 0;
    if (found == kRows) {
      const RowsSum of_rows = AddRows(rows, sums.keys.data(), width, of_node);
      bits = of_rows.bits;
      sum = of_rows.sum;
      for (uint64_t hash : of_rows.hash) mix(hash);
    } else {
      found = 1;
      const RowSum of_row = AddRow(rows[0], sums.keys.data(), width, of_node);
      bits = of_row.bits;
      sum = of_row.sum;
      mix(of_row.hash);
    }
    // Rows that could overflow, and only such, are looked at count by count.
    const bool small = bits >> 46 == 0 && width <= 1 << 15;
    if (small && static_cast<int64_t>(sum) <= kTokensMax - total) {
      total += static_cast<int64_t>(sum);
      s += found;
      continue;
    }
    for (const size_t end = s + found; s < end; ++s) BALLAST_RETURN_IF_ERROR(CheckRow(counts[s], s, total));
  }
  sums.of_expert.assign(width, 0);
  for (size_t n = 0; n < nodes; ++n) {
    for (size_t e = 0; e < width; ++e) sums.of_expert[e] += sums.of_node[n * width + e];
  }
  return absl::OkStatus();
}

}  // namespace ballast
