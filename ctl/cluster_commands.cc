#include "ctl/cluster_commands.h"

#include <map>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"
#include "ctl/connection.h"
#include "ctl/output.h"
#include "protocol/version.h"
#include "wire/message_json.h"

namespace ballast {
namespace {

// "busy", "idle, cordoned".
std::string StateOf(const v1::WorkerStatus& worker) {
  std::string state = !worker.attached() ? "away" : !worker.job().empty() ? "busy" : "idle";
  if (worker.cordoned()) state += ", cordoned";
  if (worker.leaving()) state += ", leaving";
  return state;
}

v1::WorkerStatus Named(const v1::ListWorkersResponse& workers, const std::string& name) {
  for (const v1::WorkerStatus& worker : workers.workers()) {
    if (worker.name() == name) return worker;
  }
  return {};
}

void Print(const Context& context, const v1::WorkerStatus& worker) {
  if (PrintForPrograms(context, ToJson(worker))) return;
  context.out << "worker " << worker.name() << ": " << StateOf(worker) << "\n";
}

}  // namespace

absl::Status WorkerList(const Context& context) {
  BALLAST_ASSIGN_OR_RETURN(ControlClient client, ControlClient::Connect(context.options));
  BALLAST_ASSIGN_OR_RETURN(v1::ListWorkersResponse response,
                           client.Call(&v1::Control::Stub::ListWorkers, v1::ListWorkersRequest()));
  if (PrintForPrograms(context, ToJson(response)["workers"])) return absl::OkStatus();
  Table table({"NAME", "STATE", "NODE", "DEVICE", "RANKS", "JOB", "GENERATION", "STEP", "PLAN", "DROPPED",
               "ADDRESS", "LABELS"});
  for (const v1::WorkerStatus& worker : response.workers()) {
    std::map<std::string, std::string> labels(worker.labels().begin(), worker.labels().end());
    bool busy = !worker.job().empty();
    std::string state = StateOf(worker);
    table.Add({worker.name(), state, worker.node(), worker.device(), absl::StrCat(worker.ranks()),
               busy ? worker.job() : "-", busy ? absl::StrCat(worker.generation()) : "-",
               busy ? absl::StrCat(worker.step()) : "-", busy ? absl::StrCat(worker.active_plan()) : "-",
               absl::StrCat(worker.reports_dropped()), worker.data_address(),
               absl::StrJoin(labels, ",", absl::PairFormatter("="))});
  }
  table.Print(context.out);
  return absl::OkStatus();
}

absl::Status WorkerDrain(const Context& context, const WorkerDrainArguments& arguments) {
  BALLAST_ASSIGN_OR_RETURN(ControlClient client, ControlClient::Connect(context.options));
  v1::DrainWorkerRequest request;
  request.set_name(arguments.name);
  BALLAST_ASSIGN_OR_RETURN(v1::DrainWorkerResponse response,
                           client.Call(&v1::Control::Stub::DrainWorker, request));
  v1::WorkerStatus worker = response.worker();
  Waiter waiter(client.options());
  while (arguments.wait && !worker.job().empty()) {
    auto workers = client.Call(&v1::Control::Stub::ListWorkers, v1::ListWorkersRequest());
    if (workers.ok()) worker = Named(*workers, arguments.name);
    if (worker.job().empty()) break;
    if (!waiter.Again(workers.status(), absl::StrCat("worker ", arguments.name, " to be drained")))
      return waiter.result();
  }
  Print(context, worker);
  return absl::OkStatus();
}

absl::Status WorkerCordon(const Context& context, const std::string& name, bool cordon) {
  BALLAST_ASSIGN_OR_RETURN(ControlClient client, ControlClient::Connect(context.options));
  v1::CordonWorkerRequest request;
  request.set_name(name);
  request.set_uncordon(!cordon);
  BALLAST_ASSIGN_OR_RETURN(v1::CordonWorkerResponse response,
                           client.Call(&v1::Control::Stub::CordonWorker, request));
  Print(context, response.worker());
  return absl::OkStatus();
}

absl::Status Adopt(const Context& context) {
  BALLAST_ASSIGN_OR_RETURN(ControlClient client, ControlClient::Connect(context.options));
  BALLAST_ASSIGN_OR_RETURN(v1::AdoptResponse response,
                           client.Call(&v1::Control::Stub::Adopt, v1::AdoptRequest()));
  if (!PrintForPrograms(context, ToJson(response))) {
    context.out << "the coordinator leads with term " << response.term() << "\n";
  }
  return absl::OkStatus();
}

absl::Status Strategies(const Context& context) {
  BALLAST_ASSIGN_OR_RETURN(ControlClient client, ControlClient::Connect(context.options));
  BALLAST_ASSIGN_OR_RETURN(v1::ListStrategiesResponse response,
                           client.Call(&v1::Control::Stub::ListStrategies, v1::ListStrategiesRequest()));
  if (PrintForPrograms(context, ToJson(response)["strategies"])) return absl::OkStatus();
  Table table({"KIND", "NAME", "DESCRIPTION"});
  for (const v1::Strategy& strategy : response.strategies()) {
    table.Add({strategy.kind(), strategy.name(), strategy.description()});
  }
  table.Print(context.out);
  return absl::OkStatus();
}

absl::Status Version(const Context& context, bool ask_coordinator) {
  nlohmann::ordered_json json = {{"version", BALLAST_VERSION}, {"protocol_version", kProtocolVersion}};
  if (ask_coordinator) {
    BALLAST_ASSIGN_OR_RETURN(ControlClient client, ControlClient::Connect(context.options));
    BALLAST_ASSIGN_OR_RETURN(v1::GetVersionResponse response,
                             client.Call(&v1::Control::Stub::GetVersion, v1::GetVersionRequest()));
    json["coordinator"] = ToJson(response);
  }
  if (PrintForPrograms(context, json)) return absl::OkStatus();
  context.out << "ballastctl " << BALLAST_VERSION << ", protocol version " << kProtocolVersion << "\n";
  if (ask_coordinator) {
    const nlohmann::ordered_json& server = json["coordinator"];
    std::string leads = server["leading"].get<bool>() ? "leads" : "does not lead";
    std::string refusing = server["refusing"].get<std::string>();
    context.out << "coordinator " << server["version"].get<std::string>() << ", protocol version "
                << server["protocol_version"] << ", " << leads << " with term " << server["term"]
                << (refusing.empty() ? "" : ": " + refusing) << "\n";
  }
  return absl::OkStatus();
}

}  // namespace ballast
