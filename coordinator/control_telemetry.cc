// The control service's answers about telemetry.
#include <optional>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/status_macros.h"
#include "coordinator/control_service.h"
#include "coordinator/telemetry_proto.h"

namespace ballast {

ControlService::Reactor* ControlService::GetTelemetry(Context* context,
                                                      const v1::GetTelemetryRequest* request,
                                                      v1::GetTelemetryResponse* response) {
  return Read(context, "GetTelemetry", [request, response](const Core& core) -> absl::Status {
    const JobId name(request->job());
    BALLAST_ASSIGN_OR_RETURN(JobStatus job, core.Job(name));
    BALLAST_ASSIGN_OR_RETURN(JobTelemetry telemetry, core.Telemetry(name));
    *response = ToProto(job, telemetry, core.Workers(), SteadyClock().Now());
    return absl::OkStatus();
  });
}

ControlService::Reactor* ControlService::GetLoad(Context* context, const v1::GetLoadRequest* request,
                                                 v1::GetLoadResponse* response) {
  return Read(context, "GetLoad", [request, response](const Core& core) -> absl::Status {
    const JobId name(request->job());
    if (request->steps() < 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("steps: found ", request->steps(), ", allowed at least 0"));
    }
    BALLAST_ASSIGN_OR_RETURN(JobStatus job, core.Job(name));
    const size_t steps = request->steps() == 0 ? 1 : static_cast<size_t>(request->steps());
    BALLAST_ASSIGN_OR_RETURN(auto reports, core.Loads(name, steps));
    const auto layer = request->has_layer() ? std::make_optional(request->layer()) : std::nullopt;
    BALLAST_ASSIGN_OR_RETURN(*response, LoadToProto(reports, job.record.config->model.layers, layer));
    return absl::OkStatus();
  });
}

ControlService::Reactor* ControlService::GetTokens(Context* context, const v1::GetTokensRequest* request,
                                                   v1::GetTokensResponse* response) {
  return Read(context, "GetTokens", [request, response](const Core& core) -> absl::Status {
    BALLAST_ASSIGN_OR_RETURN(const TokenSample sample, core.Tokens(JobId(request->job())));
    *response = TokensToProto(sample, {Step(request->after_step()), Rank(request->after_rank())});
    return absl::OkStatus();
  });
}

}  // namespace ballast
