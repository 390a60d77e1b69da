// What the measured links of a job mean for its plans: what a row between nodes costs, and how rows travel.
#pragma once

#include "coordinator/job_entry.h"
#include "coordinator/planner/planner.h"

namespace ballast {

// Fills in what bytes cost, where links between nodes and the time of a row were measured. Tokens over ports
// count besides where nodes hold several ranks or a link was found slow: with one rank a node, no placement
// keeps an expert's copies inside one.
void FillPrices(const JobEntry& job, PlanInput& input);

// Algorithm and chunks of each layer's exchange, by predicted time on the measured links under the newest
// loads; as they are where nothing was measured. Ranks do not compute while rows travel, so chunks gain
// nothing yet (ChooseChunks knows).
void ChooseSchedules(const JobEntry& job, PlanBody& body);

}  // namespace ballast
