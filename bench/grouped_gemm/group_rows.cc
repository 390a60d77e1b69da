#include "bench/grouped_gemm/group_rows.h"

#include <cmath>

namespace ballast::bench {

std::vector<int64_t> GroupRows(const LayerCase& c, int ranks) {
  std::vector<double> weights;
  double sum = 0;
  for (int e = 0; e < c.experts; ++e) {
    weights.push_back(std::exp(LogitBias(c, e)));
    sum += weights.back();
  }
  const int64_t total = c.tokens * c.top_k * ranks;
  std::vector<int64_t> rows;
  int64_t given = 0;
  for (double weight : weights) {
    rows.push_back(static_cast<int64_t>(std::floor(static_cast<double>(total) * weight / sum)));
    given += rows.back();
  }
  for (size_t e = 0; given < total; ++e, ++given) ++rows[e];
  rows.resize(static_cast<size_t>(c.experts / ranks));
  return rows;
}

}  // namespace ballast::bench
