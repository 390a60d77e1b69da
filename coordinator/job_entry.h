// JobEntry: what the core knows of one job while it leads.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "coordinator/event_log.h"
#include "coordinator/job_calibration.h"
#include "coordinator/link_table.h"
#include "coordinator/options.h"
#include "coordinator/plan_pace.h"
#include "coordinator/plan_task.h"
#include "coordinator/records.h"
#include "coordinator/telemetry.h"
#include "plan/layout.h"
#include "plan/topology.h"
#include "plan/validate.h"

namespace ballast {

// The one plan between PROPOSED and ACTIVE.
struct InFlight {
  PlanVersion version;
  bool committed = false;  // as in its record
  Time deadline;           // of staging; once committed, of the alarm
  bool alarmed = false;
  std::set<WorkerId> staged;        // answered this term, generation and incarnation
  std::map<WorkerId, Step> active;  // reported, with the switch step
  Step planted_not_before;          // only the planted bug F4 fills it
};

// What the members told each other to meet; relayed, and said again to who attaches.
struct Rendezvous {
  std::map<std::string, std::string> values;
  size_t bytes = 0;
};

// A generation is over and the next one has not begun: who is known to be out of it.
struct Freeze {
  Time deadline;                        // from then on silent members are left behind
  bool alarmed = false;                 // people were told that nobody answers
  std::map<WorkerId, Frozen> frozen{};  // members that said so
  std::set<WorkerId> gone{};            // members whose process was replaced, or that were left behind
  std::set<WorkerId> reported{};        // members that a peer does not reach
  std::string told{};                   // what the job waits for, as people were told
};

// A member was lost, and a checkpoint of the generation lacks nothing that went with it: the generation ends
// when that checkpoint is complete, so that the steps before it are not trained again.
struct Loss {
  std::string cause;              // of the first one
  std::set<WorkerId> reported{};  // members that a peer does not reach
  Time deadline;
};

// Some member's ranks have ended, all behind `step`: a step takes all ranks, so nobody trains on behind it,
// be it out of sight.
struct RanksEnd {
  Step step;
  bool drained = false;
  std::optional<Time> away_since{};  // from then on all members whose end is not known were detached
};

struct JobEntry {
  JobEntry(const JobRecord& job, ParameterLayout job_layout, const CoreOptions& options)
      : record(job),
        layout(std::move(job_layout)),
        limits(LimitsFor(*job.config, layout, job.config->ranks_max())),
        calibration(topology),
        telemetry(*job.config, options.recent_steps_max, options.retention) {}

  const JobConfig& config() const { return *record.config; }
  const JobId& name() const { return record.config->name; }
  bool final() const { return IsFinal(record.state); }
  // A generation exists and has not ended.
  bool assigned() const { return record.generation.value() > 0 && !generation.ended; }
  // The record of the plan that every rank runs. Requires assigned().
  const PlanRecord& active() const { return plans.at(record.active); }
  bool IsMember(const WorkerId& worker) const { return processes.count(worker) > 0; }
  bool IsMember(const WorkerId& worker, Incarnation incarnation) const {
    const auto process = processes.find(worker);
    return process != processes.end() && process->second == incarnation;
  }

  // The newest complete checkpoint of this job's own, or null. What it resumed from is in record.resume.
  const CheckpointRecord* newest_checkpoint() const {
    for (auto it = checkpoints.rbegin(); it != checkpoints.rend(); ++it) {
      if (it->second.state == CheckpointState::kPublished) return &it->second;
    }
    return nullptr;
  }

  // Persistent.
  JobRecord record;
  std::map<PlanVersion, PlanRecord> plans;
  GenerationRecord generation;  // the newest; meaningful when record.generation > 0
  std::map<std::pair<Generation, Step>, CheckpointRecord> checkpoints;  // oldest first
  EventLog events;
  std::map<PlanVersion, ExplanationRecord> explanations;  // at most kExplanationsMax, the newest

  // Constant.
  const ParameterLayout layout;

  // Derived.
  std::map<WorkerId, Incarnation> processes;  // that host the newest generation's ranks
  PlanLimits limits;                          // of the newest generation
  int ranks_needed = 0;                       // the fewest that can hold the model; 0 = not asked yet
  std::optional<Loss> loss;                   // the generation is about to end
  std::optional<Freeze> freeze;               // between two generations
  Topology topology;
  LinkTable links;             // between the nodes
  JobCalibration calibration;  // of the newest generation
  PlanPace pace;               // of this process
  std::optional<InFlight> in_flight;
  std::set<WorkerId> started;
  std::set<WorkerId> finished;
  std::optional<RanksEnd> ranks_end;  // while `finished` is not empty
  Step drained_step;    // all ranks have ended after it, to go on as the next generation; 0 = they have not
  Time drain_deadline;  // of its checkpoint
  Time settled_at;      // all members had started, or this coordinator began to lead
  std::map<WorkerId, Time> detached;  // members that are away, with the first tick that found them so
  std::set<WorkerId> alarmed;         // of those, the ones that people were alarmed about
  std::set<WorkerId> unobserved;      // members that were attached to this leader and are away
  bool stopped_early = false;         // some worker finished because of a stop request
  // Parts of checkpoints of which not every member's is there.
  struct Collecting {
    std::map<WorkerId, std::vector<CheckpointFile>> files;
  };
  std::map<Step, Collecting> collecting;
  std::set<Step> checkpoint_failures;  // of this generation, the latest
  std::optional<Time> end_by;          // all have finished; their last checkpoint is waited for until then
  Step finished_step;
  Rendezvous rendezvous;
  Telemetry telemetry;
  std::map<PlanDigest, std::string>
      rejected;  // contents that a worker of this generation refused, with its reason
  Time planner_rests_until;
  Step last_look;       // step of the planner's last look
  std::string why_not;  // the planner's last reason to stay, so that only a changed one is told
  std::optional<Explanation> last_look_without_plan;  // of that look
  std::optional<LookId> planning;                     // a look that is made aside; the next one waits for it
};

}  // namespace ballast
