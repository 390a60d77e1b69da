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
  // By copy, of the route: what its segments have in common, and where the next one begins on the host.
  struct Head {
    int32_t host = 0;
    int32_t slot = 0;
    int32_t expert = 0;
    int64_t next = 0;
  };
  std::vector<Head> heads;
};

}  // namespace ballast
