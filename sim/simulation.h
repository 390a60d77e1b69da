// One run of the control plane under simulated time: the real core, session and fence, and trouble drawn from
// a seed.
//
// Equal options give equal runs, to the last line of the transcript.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "protocol/planted_bugs.h"
#include "sim/pauses.h"
#include "sim/route_checker.h"

namespace ballast::sim {

struct SimulationOptions {
  uint64_t seed = 0;
  PlantedBugs bug;
  bool transcript = false;
};

struct SimulationResult {
  std::string checker;  // whose rule was broken; empty = all held
  std::string what;
  int64_t steps = 0;         // training steps begun by every rank
  int64_t plans_active = 0;  // that became ACTIVE, without the first of a generation
  int64_t generations = 0;
  int64_t rolled_forward = 0;  // generations that went on with what their ranks held
  int64_t behind_last = 0;     // of those, behind the job's last step
  int64_t own_updates = 0;     // ranks that had to finish a step first
  int64_t resumed = 0;         // another cluster went on with the job, and made steps
  RouteFigures routes;
  PauseFigures pauses;
  std::vector<std::string> transcript;
  bool failed() const { return !checker.empty(); }
};

SimulationResult Simulate(const SimulationOptions& options);

// Names of the planted bugs, as on the command line: "commit-before-store".
std::vector<std::string> PlantNames();
std::optional<PlantedBug> PlantByName(const std::string& name);
std::string NameOf(PlantedBug bug);

}  // namespace ballast::sim
