// Core: every decision of the coordinator, as a pure function of its state and one event.
//
// The driver owns one Core on one thread: it feeds events in the order they come and carries out the returned
// actions in order, each before the next. "Durable before sent" is this order: a StoreWrite comes before
// every message that depends on it, and when a write fails nothing behind it happens. The simulator drives
// the same Core and stops it between any two actions.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/events.h"
#include "coordinator/status.h"
#include "protocol/planted_bugs.h"

namespace ballast {

struct CoreOptions {
  Duration staging_deadline = Seconds(30);  // PROPOSED -> ABORTED when not every rank has staged by then
  Duration cool_down = Seconds(10);         // after an ABORTED plan, before the planner proposes again
  Duration switch_alarm = Seconds(60);      // COMMITTED but not ACTIVE for so long: tell people, once
  size_t recent_steps_max = 4096;           // kept per job for watchers
  size_t rendezvous_bytes_max = 16 << 20;   // of one generation; more is refused
  PlantedBugs bugs;
};

class Core {
 public:
  explicit Core(CoreOptions options);
  ~Core();
  Core(const Core&) = delete;
  Core& operator=(const Core&) = delete;

  // Never fails: what is wrong with an event is in the actions (a refusal, a note, Exit).
  Actions Step(Now now, Event event);

  // Reads, between two Steps. NotFound names the job or the version.
  std::vector<JobStatus> Jobs() const;  // in order of submission
  absl::StatusOr<JobStatus> Job(const JobId& job) const;
  absl::StatusOr<std::vector<PlanRecord>> Plans(const JobId& job) const;           // by version
  absl::StatusOr<PlanRecord> PlanOf(const JobId& job, PlanVersion version) const;  // 0 = the active one
  std::vector<WorkerStatus> Workers() const;                                       // by name
  LeaderStatus Leader() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace ballast
