// Pauses: what switches and recoveries cost in simulated time (I7). A step whose plan is new should take as
// long as any other one.
#pragma once

#include <cstdint>
#include <map>
#include <utility>

#include "base/ids.h"
#include "coordinator/memory_store.h"
#include "sim/event_queue.h"

namespace ballast::sim {

struct PauseFigures {
  int64_t steps = 0;  // with a measured length
  Micros steps_us = 0;
  int64_t switches = 0;  // steps that were the first under a plan, but for a generation's first
  Micros switches_us = 0;
  Micros switch_us_max = 0;
  int64_t recoveries = 0;  // generations that got to a table after an earlier one had
  Micros recoveries_us = 0;
  Micros recovery_us_max = 0;
  void Add(const PauseFigures& other);
};

class Pauses {
 public:
  // The table of `step` is complete.
  void OnTable(Micros now, Generation generation, Step step);
  // With the switches that `store` knows of.
  PauseFigures Figures(const MemoryStore& store) const;

 private:
  std::map<std::pair<Generation, Step>, Micros> tables_;
};

}  // namespace ballast::sim
