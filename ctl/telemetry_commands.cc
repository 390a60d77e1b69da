#include "ctl/telemetry_commands.h"

#include <algorithm>
#include <chrono>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "ctl/connection.h"
#include "ctl/exit_code.h"
#include "ctl/output.h"
#include "ctl/telemetry_text.h"
#include "wire/message_json.h"

namespace ballast {
namespace {

absl::StatusOr<v1::GetTelemetryResponse> Ask(const ControlClient& client, const std::string& job) {
  v1::GetTelemetryRequest request;
  request.set_job(job);
  return client.Call(&v1::Control::Stub::GetTelemetry, request);
}

}  // namespace

absl::Status JobLoad(const Context& context, const JobLoadArguments& arguments) {
  BALLAST_ASSIGN_OR_RETURN(ControlClient client, ControlClient::Connect(context.options));
  v1::GetLoadRequest request;
  BALLAST_ASSIGN_OR_RETURN(*request.mutable_job(), JobOrOnlyOne(client, arguments.name));
  if (arguments.layer.has_value()) request.set_layer(*arguments.layer);
  request.set_steps(arguments.steps);
  BALLAST_ASSIGN_OR_RETURN(v1::GetLoadResponse response, client.Call(&v1::Control::Stub::GetLoad, request));
  if (PrintForPrograms(context, ToJson(response)["steps"])) return absl::OkStatus();
  PrintLoad(response, context.out);
  return absl::OkStatus();
}

absl::Status Top(const Context& context, const TopArguments& arguments) {
  BALLAST_ASSIGN_OR_RETURN(ControlClient client, ControlClient::Connect(context.options));
  BALLAST_ASSIGN_OR_RETURN(std::string name, JobOrOnlyOne(client, arguments.name));
  Waiter waiter(client.options());
  while (true) {
    absl::StatusOr<v1::GetTelemetryResponse> response = Ask(client, name);
    if (response.ok()) {
      // Programs get a document each time, people a fresh table.
      if (!PrintForPrograms(context, ToJson(*response))) {
        if (!arguments.once) context.out << kClearScreen;
        PrintTop(*response, context.out);
      }
      context.out.flush();
      if (arguments.once || !context.out) return absl::OkStatus();
      if (response->ended()) return absl::OkStatus();
      std::this_thread::sleep_for(std::chrono::duration<double>(arguments.interval_s));
    }
    if (arguments.once && !response.ok()) return response.status();
    if (!response.ok() && !waiter.Again(response.status(), absl::StrCat("job ", name))) {
      return waiter.result();
    }
  }
}

absl::Status ShowTopology(const Context& context, const std::string& job) {
  BALLAST_ASSIGN_OR_RETURN(ControlClient client, ControlClient::Connect(context.options));
  BALLAST_ASSIGN_OR_RETURN(std::string name, JobOrOnlyOne(client, job));
  BALLAST_ASSIGN_OR_RETURN(v1::GetTelemetryResponse response, Ask(client, name));
  if (PrintForPrograms(context, ToJson(response)["topology"])) return absl::OkStatus();
  PrintTopology(response.topology(), context.out);
  return absl::OkStatus();
}

}  // namespace ballast
