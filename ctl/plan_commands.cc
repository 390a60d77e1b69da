#include "ctl/plan_commands.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"
#include "ctl/connection.h"
#include "ctl/exit_code.h"
#include "ctl/output.h"
#include "wire/message_json.h"
#include "wire/plan_file.h"
#include "wire/plan_lines.h"

namespace ballast {
namespace {

template <class Enum>
std::string Text(const google::protobuf::EnumDescriptor* descriptor, Enum value) {
  const auto* known = descriptor->FindValueByNumber(value);
  return known == nullptr ? absl::StrCat(static_cast<int>(value)) : EnumText(*known);
}
std::string StateText(const v1::PlanStatus& plan) { return Text(v1::PlanState_descriptor(), plan.state()); }
std::string OriginText(const v1::PlanStatus& plan) {
  return Text(v1::PlanOrigin_descriptor(), plan.origin());
}

std::string OrDash(int64_t value) { return value == 0 ? "-" : absl::StrCat(value); }

std::string ImbalanceText(const v1::PlanStatus& plan) {
  if (plan.imbalance_before() == 0 && plan.imbalance_after() == 0) return "-";
  return absl::StrCat(Fixed(plan.imbalance_before(), 2), " -> ", Fixed(plan.imbalance_after(), 2), " (bound ",
                      Fixed(plan.imbalance_bound(), 2), ")");
}

void PrintStatus(std::ostream& out, const v1::PlanStatus& plan) {
  out << "job          " << plan.job() << "\n";
  out << "version      " << plan.version() << " (generation " << plan.generation() << ", from plan "
      << plan.base_version() << ")\n";
  out << "state        " << StateText(plan);
  if (!plan.outcome().empty()) out << ": " << plan.outcome();
  if (plan.switch_step() != 0) out << " since step " << plan.switch_step();
  out << "\n";
  out << "reason       " << plan.reason() << " (" << OriginText(plan) << ")\n";
  out << "digest       " << plan.digest() << "\n";
  out << "changes      " << plan.slot_writes() << " slot writes, " << plan.home_moves() << " home moves ("
      << plan.home_bytes() << " bytes)\n";
  out << "imbalance    " << ImbalanceText(plan) << " (predicted)\n";
}

// One row per layer and rank: the experts in its slots.
void PrintSlots(std::ostream& out, const v1::PlanBody& body) {
  Table table({"LAYER", "SPLIT", "ALL-TO-ALL", "RANK", "EXPERTS"});
  for (int l = 0; l < body.layers_size(); ++l) {
    const v1::LayerPlan& layer = body.layers(l);
    for (int r = 0; r < layer.slots_size(); ++r) {
      auto slot_text = [](std::string* text, int expert) {
        absl::StrAppend(text, expert < 0 ? "." : absl::StrCat(expert));
      };
      bool first = r == 0;
      table.Add({first ? absl::StrCat(l) : "",
                 first ? Text(v1::SplitKind_descriptor(), layer.split().kind()) : "",
                 first ? layer.schedule().all_to_all() : "", absl::StrCat(r),
                 absl::StrJoin(layer.slots(r).experts(), " ", slot_text)});
    }
  }
  table.Print(out);
}

// Until the plan is active, or will never be.
absl::Status WaitForPlan(const ControlClient& client, const v1::PlanStatus& plan) {
  v1::GetPlanRequest request;
  request.set_job(plan.job());
  request.set_version(plan.version());
  Waiter waiter(client.options());
  while (true) {
    auto response = client.Call(&v1::Control::Stub::GetPlan, request);
    if (response.ok()) {
      const v1::PlanStatus& now = response->status();
      if (now.state() == v1::PLAN_STATE_ACTIVE) return absl::OkStatus();
      if (now.state() == v1::PLAN_STATE_ABORTED || now.state() == v1::PLAN_STATE_SUPERSEDED) {
        return absl::FailedPreconditionError(
            absl::StrCat("plan ", now.version(), " is ", StateText(now), ": ", now.outcome()));
      }
    }
    if (!waiter.Again(response.status(), absl::StrCat("plan ", plan.version()))) return waiter.result();
  }
}

absl::Status Finish(const Context& context, const ControlClient& client, const v1::PushPlanResponse& response,
                    bool dry_run, bool wait) {
  nlohmann::ordered_json json = ToJson(response.plan());
  json["summary"] = response.summary();
  if (!PrintForPrograms(context, json)) {
    std::string subject = dry_run ? "dry run" : absl::StrCat("plan ", response.plan().version());
    context.out << subject << ": " << response.summary() << "\n";
  }
  context.out.flush();
  return wait && !dry_run ? WaitForPlan(client, response.plan()) : absl::OkStatus();
}

}  // namespace

absl::Status PlanList(const Context& context, const std::string& job) {
  BALLAST_ASSIGN_OR_RETURN(ControlClient client, ControlClient::Connect(context.options));
  v1::ListPlansRequest request;
  BALLAST_ASSIGN_OR_RETURN(*request.mutable_job(), JobOrOnlyOne(client, job));
  BALLAST_ASSIGN_OR_RETURN(v1::ListPlansResponse response,
                           client.Call(&v1::Control::Stub::ListPlans, request));
  if (PrintForPrograms(context, ToJson(response)["plans"])) return absl::OkStatus();
  Table table(
      {"VERSION", "BASE", "STATE", "FROM STEP", "BY", "SLOT WRITES", "HOME MOVES", "IMBALANCE", "REASON"});
  for (const v1::PlanStatus& plan : response.plans()) {
    table.Add({absl::StrCat(plan.version()), OrDash(plan.base_version()), StateText(plan),
               OrDash(plan.switch_step()), OriginText(plan), absl::StrCat(plan.slot_writes()),
               absl::StrCat(plan.home_moves()), ImbalanceText(plan),
               plan.outcome().empty() ? plan.reason() : plan.outcome()});
  }
  table.Print(context.out);
  return absl::OkStatus();
}

absl::Status PlanShow(const Context& context, const PlanShowArguments& arguments) {
  BALLAST_ASSIGN_OR_RETURN(ControlClient client, ControlClient::Connect(context.options));
  v1::GetPlanRequest request;
  BALLAST_ASSIGN_OR_RETURN(*request.mutable_job(), JobOrOnlyOne(client, arguments.job));
  request.set_version(arguments.version);
  BALLAST_ASSIGN_OR_RETURN(v1::GetPlanResponse response, client.Call(&v1::Control::Stub::GetPlan, request));
  if (PrintForPrograms(context, ToJson(response))) return absl::OkStatus();
  PrintStatus(context.out, response.status());
  PrintSlots(context.out, response.plan().body());
  return absl::OkStatus();
}

absl::Status PlanPush(const Context& context, const PlanPushArguments& arguments) {
  auto source = ReadSourceFile(arguments.file);
  if (!source.ok()) return BadInput(source.status());
  const bool lines = ArePlanLines(*source);
  PlanFileText text;
  if (lines) {
    text.positions = FieldPositions(source->name);
    BALLAST_ASSIGN_OR_RETURN(text.file, ReadPlanLines(*source));
    text.file.set_reason(absl::StrCat("lines of ", source->name));
  } else {
    BALLAST_ASSIGN_OR_RETURN(text, ReadPlanFile(*source));
  }
  BALLAST_ASSIGN_OR_RETURN(ControlClient client, ControlClient::Connect(context.options));
  v1::PushPlanRequest request;
  BALLAST_ASSIGN_OR_RETURN(*request.mutable_job(), JobOrOnlyOne(client, arguments.job));
  if (lines) {
    // They name no base: they change what is active now.
    v1::GetPlanRequest active;
    active.set_job(request.job());
    BALLAST_ASSIGN_OR_RETURN(v1::GetPlanResponse now, client.Call(&v1::Control::Stub::GetPlan, active));
    text.file.set_base_version(now.status().version());
  }
  *request.mutable_plan() = text.file;
  request.set_dry_run(arguments.dry_run);
  auto response = client.Call(&v1::Control::Stub::PushPlan, request);
  // What the coordinator says of a field is shown at its place in the file.
  if (absl::IsInvalidArgument(response.status())) return text.positions.Locate(response.status());
  if (!response.ok()) return response.status();
  return Finish(context, client, *response, arguments.dry_run, arguments.wait);
}

absl::Status PlanRollback(const Context& context, const PlanRollbackArguments& arguments) {
  BALLAST_ASSIGN_OR_RETURN(ControlClient client, ControlClient::Connect(context.options));
  v1::RollbackPlanRequest request;
  BALLAST_ASSIGN_OR_RETURN(*request.mutable_job(), JobOrOnlyOne(client, arguments.job));
  request.set_to_version(arguments.to_version);
  BALLAST_ASSIGN_OR_RETURN(v1::PushPlanResponse response,
                           client.Call(&v1::Control::Stub::RollbackPlan, request));
  return Finish(context, client, response, /*dry_run=*/false, arguments.wait);
}

}  // namespace ballast
