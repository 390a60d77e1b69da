// What the measured links of a job mean for its plans: what a row between nodes costs, and how rows travel.
#pragma once

#include "coordinator/job_entry.h"
#include "coordinator/planner/planner.h"

namespace ballast {

// Fills in what traffic between nodes costs. It counts where links and rows were measured, and nodes hold
// several ranks or a link was found slow: with one rank a node, no placement keeps an expert's copies inside
// one.
void FillPorts(const JobEntry& job, PlanInput& input);

// Algorithm and chunks of each layer's exchange, by predicted time on the measured links under the newest
// loads; as they are where nothing was measured. Ranks do not compute while rows travel, so chunks gain
// nothing yet (ChooseChunks knows).
void ChooseSchedules(const JobEntry& job, PlanBody& body);

}  // namespace ballast
