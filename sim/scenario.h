// Scenario: the cluster, the troubles and their rates, drawn from a seed.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "plan/job_config.h"
#include "sim/event_queue.h"

namespace ballast::sim {

// Rates are probabilities per occasion. Every seed draws its own mixture: some have no trouble of a kind at
// all, some have little else, because rare interleavings hide behind common ones.
struct Scenario {
  int workers = 2;
  int ranks_per_worker = 1;
  Micros step_us_max = 100'000;   // a rank computes a step in half to all of this
  Micros apply_us_max = 0;        // a finished table waits up to this before the host looks at it
  Micros latency_us_max = 5'000;  // of a control message
  Micros store_us_max = 5'000;    // of a transaction
  bool in_order = true;           // messages of one stream do not overtake each other
  bool late = false;              // messages of a broken stream may still arrive, over the next one
  double duplicate = 0;           // per message
  double reset = 0;               // per message: the stream breaks instead
  double crash = 0;               // of the coordinator, before each of its actions
  double pause = 0;               // the same
  Micros pause_us_max = 2'000'000;
  double unknown = 0;  // per transaction: the result is not told
  double refuse = 0;   // per Stage: the worker has no room now
  Micros staging_deadline_us = 1'000'000;
  Micros restart_us_max = 500'000;  // until a new coordinator is started
  Micros push_us_max = 400'000;     // between two plans pushed by the operator
  double not_before = 0;            // share of pushes that set not_before_step
  bool planner = false;             // the planner is on as well
  Micros plan_us_max = 0;           // its looks are made aside and take up to so long; 0 = at once
  bool stop = false;                // the operator stops the job in the end
  int64_t steps = 0;                // of the job; 0 = more than any run comes near
  // Membership.
  int ranks_min = 2;
  int64_t checkpoint_every = 0;  // steps
  Micros write_us_max = 50'000;  // of a rank's part of a checkpoint, and of a manifest
  Micros lose_us = 0;            // mean time between troubles of a worker; 0 = none
  double kill = 0;               // shares of those troubles: the process dies,
  double pause_worker = 0;       // stands still,
  double cut_off = 0;            // loses the coordinators,
  double partition = 0;          // or the other workers
  Micros hang_up_us = 0;         // mean time until a worker takes a peer for lost that is not; 0 = never
  bool quiet = false;            // there is no other trouble, so that no step may be lost
  Micros drain_us = 0;           // mean time between two drains or uncordonings; 0 = none
  double older_store = 0;        // per new coordinator: it starts on a store that was set back
  bool resume = false;           // another cluster then goes on from the newest checkpoint of the stopped job
  Micros faults_us = 6'000'000;  // from then on there is no trouble, and no new plan

  int ranks() const { return workers * ranks_per_worker; }
  std::string ToString() const;
};

Scenario ScenarioOf(uint64_t seed);
// Of the cluster that resumes the job of `before`: another number of ranks, other troubles.
Scenario ResumedScenario(const Scenario& before, uint64_t seed);
// The job that every scenario runs: one layer, small enough that a plan costs nothing.
std::shared_ptr<const JobConfig> JobOf(const Scenario& scenario);

}  // namespace ballast::sim
