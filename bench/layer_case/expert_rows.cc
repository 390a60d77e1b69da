#include "bench/layer_case/expert_rows.h"

#include <cmath>

namespace ballast::bench {

std::vector<int64_t> ExpertRows(const LayerCase& c, int64_t assignments) {
  std::vector<double> weights;
  double sum = 0;
  for (int e = 0; e < c.experts; ++e) {
    weights.push_back(std::exp(LogitBias(c, e)));
    sum += weights.back();
  }
  std::vector<int64_t> rows;
  int64_t given = 0;
  for (double weight : weights) {
    rows.push_back(static_cast<int64_t>(std::floor(static_cast<double>(assignments) * weight / sum)));
    given += rows.back();
  }
  for (size_t e = 0; given < assignments; ++e, ++given) ++rows[e];
  return rows;
}

}  // namespace ballast::bench
