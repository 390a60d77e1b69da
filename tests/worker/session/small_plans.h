// Plans of a small job for the tests of fence and session.
#pragma once

#include <memory>
#include <utility>

#include "base/check.h"
#include "plan/contiguous.h"
#include "plan/layout.h"
#include "plan/plan.h"
#include "tests/coordinator/small_job.h"

namespace ballast {

// The contiguous plan of SmallJob("demo", ranks), stamped.
inline std::shared_ptr<Plan> SmallPlan(int ranks, int64_t version, int64_t base, int64_t not_before = 0) {
  const auto job = SmallJob("demo", ranks);
  const auto layout = ParameterLayout::Make(job->model, job->placement.block_elements);
  BALLAST_CHECK_OK(layout.status());
  auto body = ContiguousPlan(*job, *layout, ranks);
  BALLAST_CHECK_OK(body.status());
  auto plan = std::make_shared<Plan>();
  plan->stamp =
      PlanStamp{JobId("demo"), Generation(1), PlanVersion(version), PlanVersion(base), Step(not_before)};
  plan->body = *std::move(body);
  return plan;
}

// The same with expert 0 doubled on the last rank.
inline std::shared_ptr<Plan> OtherPlan(int ranks, int64_t version, int64_t base, int64_t not_before = 0) {
  auto plan = SmallPlan(ranks, version, base, not_before);
  for (Slot& slot : plan->body.layers[0].slots.back()) {
    if (slot.has_value()) continue;
    slot = ExpertId(0);
    break;
  }
  return plan;
}

}  // namespace ballast
