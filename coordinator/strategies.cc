#include "coordinator/strategies.h"

#include "coordinator/planner/register.h"

namespace ballast {
namespace {

void Add(v1::ListStrategiesResponse& response, const std::string& kind, const std::string& name,
         const std::string& description) {
  v1::Strategy* strategy = response.add_strategies();
  strategy->set_kind(kind);
  strategy->set_name(name);
  strategy->set_description(description);
}

}  // namespace

std::vector<std::string> KnownPlanners() { return Planners().Names(); }

v1::ListStrategiesResponse ListStrategies() {
  v1::ListStrategiesResponse response;
  for (const std::string& name : Planners().Names()) {
    Add(response, Planners().kind(), name, Planners().Description(name));
  }
  // Workers run these; a test compares the names with those that a plan may carry (LimitsFor in
  // plan/validate.h).
  Add(response, "all-to-all", "direct", "every rank sends to every rank");
  Add(response, "all-to-all", "rails", "to the other node on the source's rail, handed on there: even ports");
  Add(response, "all-to-all", "two_level",
      "gathers in the node, one message per pair of nodes, scatters there");
  Add(response, "compressor", "none", "rows as they are");
  Add(response, "compressor", "bf16", "rows rounded to bfloat16: half the bytes");
  Add(response, "task order", "grouped", "all dispatches, then all experts, then all combines");
  return response;
}

}  // namespace ballast
