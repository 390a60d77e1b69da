// What can be set of the coordinator's core.
#pragma once

#include <cstddef>

#include "base/clock.h"
#include "protocol/planted_bugs.h"

namespace ballast {

struct CoreOptions {
  Duration staging_deadline = Seconds(30);  // PROPOSED -> ABORTED when not every rank has staged by then
  Duration cool_down = Seconds(10);         // after an ABORTED plan, before the planner proposes again
  Duration switch_alarm = Seconds(60);      // COMMITTED but not ACTIVE for so long: tell people, once
  size_t recent_steps_max = 4096;           // kept per job for watchers
  size_t rendezvous_bytes_max = 16 << 20;   // of one generation; more ends the job
  PlantedBugs bugs;
};

}  // namespace ballast
