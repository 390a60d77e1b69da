// A look of the planner that is made outside of the core, because it takes long: what goes out and what comes
// back, as values.
#pragma once

#include <functional>
#include <utility>

#include "absl/status/statusor.h"
#include "base/ids.h"
#include "coordinator/planner/accept.h"
#include "protocol/messages.h"

namespace ballast {

// Which look: answers to another one are of no use. A job is looked at once in a step.
struct LookId {
  Stamp stamp;
  PlanVersion base;  // the plan that was active
  Step step;
  friend bool operator==(const LookId&, const LookId&) = default;
};

// Owns all that a PlanInput refers to. Immutable, so that any thread may work on it.
class PlanTask {
 public:
  PlanTask(LookId look, const PlanInput& input);
  PlanTask(const PlanTask&) = delete;
  PlanTask& operator=(const PlanTask&) = delete;

  const LookId& look() const { return look_; }
  const PlanInput& input() const { return input_; }
  // Decide. A function of the task alone as long as `given_up` says false; what it returns after it has said
  // true is of no use.
  absl::StatusOr<PlanDecision> Run(const std::function<bool()>& given_up) const;

 private:
  const LookId look_;
  const ParameterLayout layout_;
  const PlanLimits limits_;
  const Topology topology_;
  const PlannerConfig config_;
  const LoadHistory history_;
  const PlanBody current_;
  const TokenSample tokens_;
  const PlanInput input_;
};

}  // namespace ballast
