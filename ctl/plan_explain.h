// ballastctl plan explain: why a plan is what it is, and what it really gained.
#pragma once

#include <cstdint>
#include <ostream>
#include <string>

#include "absl/status/status.h"
#include "ballast/v1/control.pb.h"
#include "ctl/context.h"

namespace ballast {

struct PlanExplainArguments {
  std::string job;
  int64_t version = 0;  // 0 = the active one
};
absl::Status PlanExplain(const Context& context, const PlanExplainArguments& arguments);

// For people. Loads are summed up per layer; the full matrix is in the JSON.
void PrintExplanation(std::ostream& out, const v1::ExplainPlanResponse& response);

}  // namespace ballast
