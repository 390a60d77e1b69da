// What the control service answers of telemetry: values as protobuf.
#pragma once

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "ballast/v1/control.pb.h"
#include "base/clock.h"
#include "coordinator/planner/token_sample.h"
#include "coordinator/status.h"

namespace ballast {

// `workers` tells how many reports were dropped; `now` is on the clock of the links' records.
v1::GetTelemetryResponse ToProto(const JobStatus& job, const JobTelemetry& telemetry,
                                 const std::vector<WorkerStatus>& workers, Time now);

// Of one layer, or all. InvalidArgument for a layer that the job has not.
absl::StatusOr<v1::GetLoadResponse> LoadToProto(const std::vector<std::shared_ptr<const StepReport>>& steps,
                                                int layers, std::optional<int> layer);

// The sequences behind `after`, as many as fit into about kTokensAnswerBytes, but at least one of them.
inline constexpr int64_t kTokensAnswerBytes = 4 << 20;
v1::GetTokensResponse TokensToProto(const TokenSample& sample, std::pair<Step, Rank> after);

}  // namespace ballast
