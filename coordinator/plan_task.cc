#include "coordinator/plan_task.h"

#include "base/check.h"
#include "coordinator/planner/register.h"

namespace ballast {
namespace {

// References rebound, the rest copied.
PlanInput Rebound(const PlanInput& input, const ParameterLayout& layout, const PlanLimits& limits,
                  const Topology& topology, const PlannerConfig& config, const LoadHistory& history,
                  const PlanBody& current, const TokenSample& tokens) {
  return {.layout = layout,
          .limits = limits,
          .topology = topology,
          .config = config,
          .history = history,
          .current = current,
          .speeds = input.speeds,
          .now = input.now,
          .active_since = input.active_since,
          .optional_moves = input.optional_moves,
          .port_cost = input.port_cost,
          .port_slowdowns = input.port_slowdowns,
          .nic_byte_cost = input.nic_byte_cost,
          .node_byte_cost = input.node_byte_cost,
          .element_bytes = input.element_bytes,
          .evaluations_max = input.evaluations_max,
          .tokens = &tokens};
}

TokenSample SampleOf(const PlanInput& input) {
  return input.tokens != nullptr ? *input.tokens
                                 : TokenSample(input.layout.layers(), input.layout.experts(), 1);
}

}  // namespace

PlanTask::PlanTask(LookId look, const PlanInput& input)
    : look_(std::move(look)),
      layout_(input.layout),
      limits_(input.limits),
      topology_(input.topology),
      config_(input.config),
      history_(input.history),
      current_(input.current),
      tokens_(SampleOf(input)),
      input_(Rebound(input, layout_, limits_, topology_, config_, history_, current_, tokens_)) {}

absl::StatusOr<PlanDecision> PlanTask::Run(const std::function<bool()>& given_up) const {
  PlanInput input = input_;
  input.given_up = &given_up;
  return Decide(Planners(), input);
}

}  // namespace ballast
