// A small linear program solved by the textbook: no code is shared with what it checks.
#pragma once

#include <cmath>
#include <cstddef>
#include <vector>

namespace ballast::testing {

// max c x, subject to a x <= b and x >= 0, with b >= 0: the dense tableau, Bland's rule. Requires a bounded
// optimum; a few dozen rows and columns.
inline double SolveLinearProgram(const std::vector<std::vector<double>>& a, const std::vector<double>& b,
                                 const std::vector<double>& c) {
  constexpr double kZero = 1e-11;
  const size_t rows = a.size(), columns = c.size() + rows;
  std::vector<std::vector<double>> t(rows + 1, std::vector<double>(columns + 1, 0));
  std::vector<size_t> basis;
  for (size_t i = 0; i < rows; ++i) {
    for (size_t j = 0; j < c.size(); ++j) t[i][j] = a[i][j];
    t[i][c.size() + i] = 1;
    t[i][columns] = b[i];
    basis.push_back(c.size() + i);
  }
  for (size_t j = 0; j < c.size(); ++j) t[rows][j] = -c[j];
  while (true) {
    size_t enters = 0;
    while (enters < columns && t[rows][enters] >= -kZero) ++enters;
    if (enters == columns) return t[rows][columns];
    size_t leaves = rows;
    double least = 0;
    for (size_t i = 0; i < rows; ++i) {
      if (t[i][enters] <= kZero) continue;
      const double ratio = t[i][columns] / t[i][enters];
      const bool less =
          leaves == rows || ratio < least - kZero || (ratio < least + kZero && basis[i] < basis[leaves]);
      if (less) {
        leaves = i;
        least = ratio;
      }
    }
    if (leaves == rows) return INFINITY;
    const double pivot = t[leaves][enters];
    for (double& value : t[leaves]) value /= pivot;
    for (size_t i = 0; i <= rows; ++i) {
      const double factor = t[i][enters];
      if (i == leaves || factor == 0) continue;
      for (size_t j = 0; j <= columns; ++j) t[i][j] -= factor * t[leaves][j];
    }
    basis[leaves] = enters;
  }
}

}  // namespace ballast::testing
