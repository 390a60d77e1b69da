#include "ctl/plan_explain.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status_macros.h"
#include "ctl/connection.h"
#include "ctl/output.h"
#include "wire/message_json.h"
#include "wire/strict_reader.h"

namespace ballast {
namespace {

// "expert 3: 22 %, 0: 15 %, 7: 13 %": the hottest.
std::string HottestText(const v1::PlanExplanation::Layer& layer) {
  constexpr size_t kShown = 3;
  std::vector<int> order(static_cast<size_t>(layer.load_size()));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return layer.load(a) > layer.load(b); });
  const double total =
      static_cast<double>(std::accumulate(layer.load().begin(), layer.load().end(), int64_t{0}));
  if (total == 0) return "-";
  std::string text = "expert ";
  for (size_t i = 0; i < std::min(kShown, order.size()); ++i) {
    absl::StrAppendFormat(&text, "%s%d: %.0f %%", i == 0 ? "" : ", ", order[i],
                          100 * static_cast<double>(layer.load(order[i])) / total);
  }
  return text;
}

void PrintLayers(std::ostream& out, const v1::PlanExplanation& explanation) {
  Table layers({"LAYER", "BOUND", "BEFORE", "AFTER", "HOTTEST", "WHY"});
  for (int l = 0; l < explanation.layers_size(); ++l) {
    const v1::PlanExplanation::Layer& layer = explanation.layers(l);
    layers.Add({absl::StrCat(l), Fixed(layer.bound(), 3), Fixed(layer.imbalance_before(), 3),
                Fixed(layer.imbalance_after(), 3), HottestText(layer), layer.why()});
  }
  layers.Print(out);
  Table candidates(
      {"LAYER", "CANDIDATE", "IMBALANCE", "COST J", "LOAD", "SYNC", "PORTS", "MOVES", "SLOT WRITES", ""});
  bool any = false;
  for (int l = 0; l < explanation.layers_size(); ++l) {
    bool first = true;
    for (const v1::PlanExplanation::Candidate& one : explanation.layers(l).candidates()) {
      candidates.Add({first ? absl::StrCat(l) : "", one.name(), Fixed(one.imbalance(), 3),
                      Fixed(one.cost(), 4), Fixed(one.load_cost(), 4), Fixed(one.sync_cost(), 4),
                      Fixed(one.port_cost(), 4), Fixed(one.moves_cost(), 4), absl::StrCat(one.slot_writes()),
                      one.chosen() ? "chosen" : ""});
      first = false;
      any = true;
    }
  }
  if (!any) return;
  out << "\n";
  candidates.Print(out);
}

void PrintMeasured(std::ostream& out, const v1::MeasuredGain& measured) {
  if (measured.steps() == 0) {
    out << "measured     no step under it was reported yet\n";
    return;
  }
  out << absl::StrFormat("measured     steps %d to %d: imbalance %.3f", measured.from_step(),
                         measured.to_step(), measured.imbalance());
  if (measured.imbalance_without() > 0) {
    out << absl::StrFormat(", with the plan before it would have been %.3f", measured.imbalance_without());
  }
  out << (measured.complete() ? "\n" : " (so far)\n");
  if (measured.step_seconds_before() > 0) {
    out << absl::StrFormat("step time    %.4g s before, %.4g s under it (medians); at the switch %.4g s\n",
                           measured.step_seconds_before(), measured.step_seconds(),
                           measured.switch_seconds());
  } else {
    out << absl::StrFormat("step time    %.4g s (median)\n", measured.step_seconds());
  }
}

}  // namespace

void PrintExplanation(std::ostream& out, const v1::ExplainPlanResponse& response) {
  const v1::PlanStatus& plan = response.plan();
  out << "plan         " << plan.version() << " of job " << plan.job() << ": "
      << EnumText(*v1::PlanState_descriptor()->FindValueByNumber(plan.state()));
  if (!plan.outcome().empty()) out << ": " << plan.outcome();
  if (plan.switch_step() > 0) out << " since step " << plan.switch_step();
  out << "\nreason       " << plan.reason() << "\n";
  if (response.has_explanation()) {
    const v1::PlanExplanation& explanation = response.explanation();
    out << "made by      " << explanation.strategy() << " at step " << explanation.step();
    if (explanation.last_sample() > 0) {
      out << ", from the loads of steps " << explanation.first_sample() << " to "
          << explanation.last_sample();
    }
    out << "\nverdict      " << explanation.verdict() << "\n";
    if (!explanation.prices().empty()) out << "prices       " << explanation.prices() << "\n";
    if (explanation.evaluations_max() > 0) {
      out << "budget       " << explanation.evaluations() << " of at most " << explanation.evaluations_max()
          << " placements were looked at\n";
    }
  } else {
    out << "made by      " << EnumText(*v1::PlanOrigin_descriptor()->FindValueByNumber(plan.origin()))
        << "; nothing was weighed, or it is not kept any more\n";
  }
  if (plan.imbalance_before() > 0) {
    out << absl::StrFormat("predicted    imbalance %.3f -> %.3f; no placement gets below %.3f\n",
                           plan.imbalance_before(), plan.imbalance_after(), plan.imbalance_bound());
  }
  if (plan.predicted_step_seconds() > 0) {
    out << absl::StrFormat("predicted    %.4g s a step", plan.predicted_step_seconds());
    const double measured = response.measured().steps() > 0 ? response.measured().step_seconds() : 0;
    if (measured > 0) {
      out << absl::StrFormat("; measured %.4g s (%+.1f %%)", measured,
                             100 * (measured / plan.predicted_step_seconds() - 1));
    }
    out << "\n";
  }
  out << "cost         " << plan.slot_writes() << " slot writes (" << plan.slot_bytes()
      << " bytes of weights, with the refresh), " << plan.home_moves() << " home moves (" << plan.home_bytes()
      << " bytes)\n";
  PrintMeasured(out, response.measured());
  if (response.explanation().layers_size() > 0) {
    out << "\n";
    PrintLayers(out, response.explanation());
  }
  if (!response.has_last_look()) return;
  const v1::PlanExplanation& look = response.last_look();
  out << "\nlast look    step " << look.step() << ", " << look.strategy() << ": " << look.verdict() << "\n";
  if (look.layers_size() > 0) {
    out << "\n";
    PrintLayers(out, look);
  }
}

absl::Status PlanExplain(const Context& context, const PlanExplainArguments& arguments) {
  BALLAST_ASSIGN_OR_RETURN(ControlClient client, ControlClient::Connect(context.options));
  v1::ExplainPlanRequest request;
  BALLAST_ASSIGN_OR_RETURN(*request.mutable_job(), JobOrOnlyOne(client, arguments.job));
  request.set_version(arguments.version);
  BALLAST_ASSIGN_OR_RETURN(v1::ExplainPlanResponse response,
                           client.Call(&v1::Control::Stub::ExplainPlan, request));
  if (!PrintForPrograms(context, ToJson(response))) PrintExplanation(context.out, response);
  return absl::OkStatus();
}

}  // namespace ballast
