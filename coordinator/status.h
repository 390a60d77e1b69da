// What people and programs may read of the coordinator's state, as copies.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/ids.h"
#include "coordinator/link_table.h"
#include "coordinator/records.h"
#include "plan/topology.h"

namespace ballast {

struct JobStatus {
  JobRecord record;  // with the newest progress: step, last_steps, evaluations, trained_*
  std::vector<StepPoint>
      recent_steps;               // rising; since this coordinator leads, at least the record's last_steps
  std::vector<WorkerId> workers;  // of the newest generation, by rank, each once
  double tokens_per_s = 0;        // trained tokens / seconds in steps, over the whole run
  double eta_s = 0;               // 0 when final or unknown
  std::optional<CheckpointRecord> checkpoint;  // the newest complete one
  // Of the newest plan that was predicted and ran: seconds of a step; 0 = there is none.
  double predicted_step_seconds = 0;
  double measured_step_seconds = 0;
  PlanVersion in_flight;  // proposed or committed and not yet active; 0 = none
  bool in_flight_committed = false;
};

// Why a plan is what it is, and what it really gained.
struct PlanAccount {
  PlanRecord plan;
  std::optional<Explanation> explanation;  // nothing: nothing was weighed, or it is not kept any more
  MeasuredGain measured;
  std::optional<Explanation> last_look;  // of the planner, when it led to no plan and came after this one
};

struct WorkerStatus {
  WorkerId name;
  bool attached = false;
  bool cordoned = false;
  bool leaving = false;
  Incarnation incarnation;
  std::string node;
  std::string device;
  int ranks = 0;
  std::string data_address;
  std::map<std::string, std::string> labels;
  JobId job;  // that it works for; empty = idle
  Generation generation;
  Step step;                    // last completed, as far as known
  PlanVersion active_plan;      // as far as known
  int64_t reports_dropped = 0;  // by its present process, as it said last
};

// What one rank said of its steps.
struct RankTelemetry {
  Rank rank;
  WorkerId worker;
  std::string node;
  std::string device;
  bool attached = false;  // its worker
  RankStep last;          // step 0 = nothing said yet
  // Means over the steps that are kept.
  double mean_seconds = 0;
  double mean_wait_seconds = 0;
  double speed = 1;  // of a healthy rank, as calibrated
};

// The newest of what is measured of a job.
struct JobTelemetry {
  std::vector<RankTelemetry> ranks;  // of the newest generation
  StepReport last;                   // step 0 = none yet
  Topology topology;
  std::map<std::pair<std::string, std::string>, LinkRecord> links;   // as LinkTable's
  std::map<std::pair<std::string, std::string>, double> slow_links;  // those found slow: time over its peers'
  int64_t rejected = 0;  // reports refused for a field that cannot be
};

struct LeaderStatus {
  Term term;             // 0 = not leading yet
  std::string refusing;  // why it refuses to lead until adopted; empty = it leads
  bool leading() const { return term.value() > 0 && refusing.empty(); }
};

}  // namespace ballast
