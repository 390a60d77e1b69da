// Core: every decision of the coordinator, as a pure function of its state and one event.
//
// The driver owns one Core on one thread: it feeds events in the order they come and carries out the returned
// actions in order, each before the next. "Durable before sent" is this order: a StoreWrite comes before
// every message that depends on it, and when a write fails nothing behind it happens. The simulator drives
// the same Core and stops it between any two actions.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/events.h"
#include "coordinator/options.h"
#include "coordinator/status.h"

namespace ballast {

class Core {
 public:
  explicit Core(CoreOptions options);
  ~Core();
  Core(const Core&) = delete;
  Core& operator=(const Core&) = delete;

  // Never fails: what is wrong with an event is in the actions (a refusal, a note, Exit).
  Actions Step(Now now, Event event);
  // The planner's look in the last Step, once: who knows what that took feeds PlanTimed, so that later looks
  // take what the job file allows. Without, looks have a fixed budget.
  std::optional<PlannerLook> TakeLook();

  // Reads, between two Steps. NotFound names the job or the version.
  std::vector<JobStatus> Jobs() const;  // in order of submission
  absl::StatusOr<JobStatus> Job(const JobId& job) const;
  absl::StatusOr<std::vector<PlanRecord>> Plans(const JobId& job) const;              // by version
  absl::StatusOr<std::vector<CheckpointRecord>> Checkpoints(const JobId& job) const;  // oldest first
  absl::StatusOr<PlanRecord> PlanOf(const JobId& job, PlanVersion version) const;     // 0 = the active one
  absl::StatusOr<PlanAccount> Explain(const JobId& job, PlanVersion version) const;   // 0 = the active one
  absl::StatusOr<std::vector<JobEvent>> Events(const JobId& job) const;               // by number
  std::vector<WorkerStatus> Workers() const;                                          // by name
  absl::StatusOr<JobTelemetry> Telemetry(const JobId& job) const;
  // Full reports of at most the newest `steps_max` steps that are kept, oldest first.
  absl::StatusOr<std::vector<std::shared_ptr<const StepReport>>> Loads(const JobId& job,
                                                                       size_t steps_max) const;
  absl::StatusOr<TokenSample> Tokens(const JobId& job) const;
  LeaderStatus Leader() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace ballast
