// How often two experts of one layer are chosen by the same token.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"

namespace ballast {

struct CoactivationMatrix {
  int experts = 0;
  std::vector<int64_t> pairs;  // [a * experts + b], symmetric; the diagonal holds each expert's tokens

  int64_t at(int a, int b) const {
    return pairs[static_cast<size_t>(a) * static_cast<size_t>(experts) + static_cast<size_t>(b)];
  }
};

// From a sample of tokens: choices[token][k] experts. InvalidArgument when an expert is out of range or a
// token has one twice.
absl::StatusOr<CoactivationMatrix> CountPairs(const std::vector<std::vector<int>>& choices, int experts);

}  // namespace ballast
