// Routing: the order in which a rank's assignments travel, from the router's choices alone. Pure.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace ballast {

// An assignment is (token, k): token `token` goes to its k-th chosen expert. Source order sorts them by
// (expert, token, k); tokens are numbered by (sequence, position), so inside an expert that is the canonical
// order.
struct Routing {
  std::vector<int64_t> counts;    // [expert] assignments
  std::vector<int64_t> token_of;  // [row in source order] its token
  std::vector<int64_t> row_of;    // [token * top_k + k] its row in source order
};

// `choices` is [token][k], each in 0..experts - 1 (CHECK).
Routing MakeRouting(std::span<const int32_t> choices, int top_k, int experts);

}  // namespace ballast
