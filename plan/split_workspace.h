// What computing splits needs beside their input and their answers.
#pragma once

#include <cstdint>
#include <vector>

#include "plan/balance_solver.h"
#include "plan/copies.h"
#include "plan/count_sums.h"
#include "plan/deal.h"

namespace ballast {

// A loop that keeps one allocates nothing once it has grown. Nothing is carried over from one split to the
// next.
struct SplitWorkspace {
  CountSums sums;
  Copies copies;
  BalanceSolver solver;
  std::vector<int64_t> quotas;  // by copy
  std::vector<char> all;        // every rank is wanted
  ShareDealer dealer;
  std::vector<int64_t> next;  // by copy, of the route
};

}  // namespace ballast
