// The yardstick: stays with what the job started from or an operator pushed.
#include "coordinator/planner/register.h"

namespace ballast {
namespace {

class ContiguousPlanner final : public Planner {
 public:
  Proposal Propose(const PlanInput&) const override { return {}; }
  std::optional<PlanBody> ProposeHomes(const PlanInput&) const override { return std::nullopt; }
};

}  // namespace

PlannerPtr MakeContiguousPlanner() { return std::make_shared<ContiguousPlanner>(); }

}  // namespace ballast
