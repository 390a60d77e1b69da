#include "sim/pauses.h"

#include <algorithm>
#include <optional>
#include <set>

namespace ballast::sim {

void PauseFigures::Add(const PauseFigures& other) {
  steps += other.steps;
  steps_us += other.steps_us;
  switches += other.switches;
  switches_us += other.switches_us;
  switch_us_max = std::max(switch_us_max, other.switch_us_max);
  recoveries += other.recoveries;
  recoveries_us += other.recoveries_us;
  recovery_us_max = std::max(recovery_us_max, other.recovery_us_max);
}

void Pauses::OnTable(Micros now, Generation generation, Step step) {
  tables_.try_emplace({generation, step}, now);
}

PauseFigures Pauses::Figures(const MemoryStore& store) const {
  std::set<std::pair<Generation, Step>> switches;
  for (const auto& [key, record] : store.plans()) {
    const bool first = record.origin == PlanOrigin::kFirst || record.origin == PlanOrigin::kRecovery;
    if (record.switch_step.value() > 0 && !first) {
      switches.insert({record.plan->stamp.generation, record.switch_step});
    }
  }
  PauseFigures figures;
  std::optional<std::pair<Generation, Step>> before;
  Micros before_us = 0;
  for (const auto& [key, now] : tables_) {
    const Micros length = now - before_us;
    if (before.has_value() && key.first == before->first) {
      ++figures.steps;
      figures.steps_us += length;
      if (switches.count(key) > 0) {
        ++figures.switches;
        figures.switches_us += length;
        figures.switch_us_max = std::max(figures.switch_us_max, length);
      }
    } else if (before.has_value()) {
      ++figures.recoveries;
      figures.recoveries_us += length;
      figures.recovery_us_max = std::max(figures.recovery_us_max, length);
    }
    before = key;
    before_us = now;
  }
  return figures;
}

}  // namespace ballast::sim
