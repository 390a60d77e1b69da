#include "ctl/cluster_commands.h"

#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"
#include "ctl/connection.h"
#include "ctl/output.h"
#include "protocol/version.h"
#include "wire/message_json.h"

namespace ballast {

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
    std::string state = !worker.attached() ? "away" : busy ? "busy" : "idle";
    table.Add({worker.name(), state, worker.node(), worker.device(), absl::StrCat(worker.ranks()),
               busy ? worker.job() : "-", busy ? absl::StrCat(worker.generation()) : "-",
               busy ? absl::StrCat(worker.step()) : "-", busy ? absl::StrCat(worker.active_plan()) : "-",
               absl::StrCat(worker.reports_dropped()), worker.data_address(),
               absl::StrJoin(labels, ",", absl::PairFormatter("="))});
  }
  table.Print(context.out);
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
