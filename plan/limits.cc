// The limits of a job, defaults filled in.
#include <algorithm>

#include "base/check.h"
#include "base/math.h"
#include "plan/contiguous.h"
#include "plan/diff.h"
#include "plan/home_moves.h"
#include "plan/validate.h"

namespace ballast {
namespace {

constexpr int64_t kHomeMoveBytesDefault = int64_t{64} << 20;

// Twice the even share leaves room for homes to follow their slots; a model with few experts needs more for
// its first plan.
int64_t DefaultHomeElements(const ParameterLayout& layout, int ranks) {
  const std::vector<int64_t> first = HomeElements(ContiguousHomes(layout, ranks), layout, ranks);
  return std::max(2 * CeilDiv(layout.total_elements(), ranks), *std::max_element(first.begin(), first.end()));
}

// A bound below one block would forbid every home move for good.
int64_t DefaultHomeMoveBytes(const ParameterLayout& layout) {
  int64_t longest = 0;
  for (const Block& block : layout.blocks()) longest = std::max(longest, block.elements);
  return std::max(kHomeMoveBytesDefault, longest * kHomeBytesPerElement);
}

}  // namespace

PlanLimits LimitsFor(const JobConfig& job, const ParameterLayout& layout, int ranks) {
  BALLAST_CHECK(ranks > 0) << ranks << " ranks";
  PlanLimits limits;
  limits.ranks = ranks;
  limits.slots_per_rank = job.placement.slots_per_rank;
  limits.home_elements_per_rank = job.placement.home_elements_per_rank ? job.placement.home_elements_per_rank
                                                                       : DefaultHomeElements(layout, ranks);
  limits.home_move_bytes_max =
      job.placement.home_move_bytes_max ? job.placement.home_move_bytes_max : DefaultHomeMoveBytes(layout);
  limits.all_to_alls = {"direct", kRails, "two_level"};
  limits.compressors = {"none", "bf16"};
  limits.task_orders = {"grouped"};
  return limits;
}

}  // namespace ballast
