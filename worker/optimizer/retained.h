// RetainedHomes: what a rank still holds of its homes when a generation ends under it, in host memory.
//
// A rank sends its row of step s when the reduced gradients of s are in place, and updates when it has all
// rows. So when some rank has applied s, every other one has applied it, too, or has the gradients and lacks
// rows alone: with the rows once more it makes the very same update (F9).
#pragma once

#include <map>
#include <vector>

#include "base/ids.h"

namespace ballast {

struct RetainedHomes {
  Step applied;  // the last update; the step before the first while there was none
  // Of every block that is at home here under the plan of `applied` or of the step after it, in the form of
  // Optimizer::FillState.
  std::map<BlockId, std::vector<char>> states;
  std::map<Step, std::vector<char>> rows;  // this rank's, of the last steps that it has sent one for
  // Reduced gradients of the step behind `applied`, in the master type; empty when its row has not left.
  std::map<BlockId, std::vector<char>> gradients;
};

}  // namespace ballast
