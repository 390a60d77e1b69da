#include "coordinator/planner/layer/coactivation_matrix.h"

#include "absl/strings/str_cat.h"

namespace ballast {

absl::StatusOr<CoactivationMatrix> CountPairs(const std::vector<std::vector<int>>& choices, int experts) {
  CoactivationMatrix matrix;
  matrix.experts = experts;
  const size_t n = static_cast<size_t>(experts);
  matrix.pairs.assign(n * n, 0);
  for (size_t t = 0; t < choices.size(); ++t) {
    for (int e : choices[t]) {
      if (e < 0 || e >= experts) {
        return absl::InvalidArgumentError(
            absl::StrCat("token ", t, ": found expert ", e, ", allowed is 0..", experts - 1));
      }
    }
    for (size_t i = 0; i < choices[t].size(); ++i) {
      for (size_t j = 0; j < choices[t].size(); ++j) {
        if (i != j && choices[t][i] == choices[t][j]) {
          return absl::InvalidArgumentError(
              absl::StrCat("token ", t, ": found expert ", choices[t][i], " twice, allowed is once"));
        }
        ++matrix.pairs[static_cast<size_t>(choices[t][i]) * n + static_cast<size_t>(choices[t][j])];
      }
    }
  }
  return matrix;
}

}  // namespace ballast
