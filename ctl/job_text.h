// Jobs in words, for tables and progress.
#pragma once

#include <nlohmann/json.hpp>
#include <ostream>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ballast/v1/control.pb.h"

namespace ballast {

bool IsFinal(v1::JobState state);

// "RUNNING", "FAILED: worker w1 was lost".
std::string StateText(const v1::JobStatus& job);

// OK for a job that SUCCEEDED; for one that FAILED an Internal error with the reason.
absl::Status EndOf(const v1::JobStatus& job);

// Several lines with all that people ask of one job.
void PrintJob(std::ostream& out, const v1::JobStatus& job);

// "step 120/200  loss 2.3456  1834 tokens/s  imbalance 1.06  plan 3  ETA 1m20s".
std::string ProgressLine(const v1::StepStatus& step, int64_t steps);

// {"step", "loss", "tokens_per_s", "imbalance", "plan_version", "eta_s"} on one line; the loss has 17 digits,
// so that it reads back as the same double.
std::string StepJsonLine(const v1::StepStatus& step);

// The figures of a run that has ended: {"steps", "loss_first", "loss_last", "loss_by_source",
// "plans_committed", "slot_writes", "imbalance_before", "imbalance_after", "tokens_per_s"}. The imbalances
// are means over the last min(20, steps) steps. FailedPrecondition when the job has not ended well or figures
// are missing.
absl::StatusOr<nlohmann::ordered_json> JobSummaryJson(const v1::JobStatus& job);

}  // namespace ballast
