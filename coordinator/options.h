// What can be set of the coordinator's core.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/clock.h"
#include "coordinator/retention.h"
#include "protocol/planted_bugs.h"

namespace ballast {

struct CoreOptions {
  Duration staging_deadline = Seconds(30);  // PROPOSED -> ABORTED when not every rank has staged by then
  Duration cool_down = Seconds(10);         // after an ABORTED plan, before the planner proposes again
  Duration freeze_timeout = Seconds(3);     // for members to leave a generation that is over
  Duration complete_timeout = Seconds(2);   // for a checkpoint that all ranks have written, when one is lost
  Duration drain_timeout = Seconds(60);  // for a drain's checkpoint or members away, from the last rank's end
  Duration scale_out_after = Seconds(10);  // between a generation's start and a change to more ranks
  Duration switch_alarm = Seconds(60);     // COMMITTED but not ACTIVE for so long: tell people, once
  int64_t not_before_ahead_max = 1000;     // steps after the last report that a plan may wait for its step
  size_t recent_steps_max = 4096;          // kept per job for watchers
  RetentionOptions retention;              // of what workers report
  size_t rendezvous_bytes_max = 16 << 20;  // of one generation; more ends the job
  bool plan_aside = false;                 // every look of the planner, and not of slow strategies alone
  PlantedBugs bugs;
};

}  // namespace ballast
