// Dividing whole tokens by weights: the largest-remainder method (Hamilton), in integers alone.
#pragma once

#include <cstdint>
#include <vector>

namespace ballast {

// Parts that sum to `amount`, each floor or ceiling of amount * weight / sum of weights; the larger
// remainders are rounded up, a tie goes to the lower index. A part of weight 0 is 0, and no part exceeds its
// weight when amount <= sum. Requires amount >= 0, weights >= 0, both sums below 2^62, and a weight above 0
// unless amount is 0.
std::vector<int64_t> Apportion(int64_t amount, const std::vector<int64_t>& weights);

// cells[row][column] with exactly these row and column sums, close to rows[i] * columns[j] / total: each row
// is apportioned by what is left of the columns. Requires equal sums of rows and columns, below 2^62.
std::vector<std::vector<int64_t>> ApportionTable(const std::vector<int64_t>& rows,
                                                 const std::vector<int64_t>& columns);

}  // namespace ballast
