// World: what the models of one run share.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/rng.h"
#include "coordinator/memory_store.h"
#include "protocol/planted_bugs.h"
#include "sim/checkers.h"
#include "sim/disk.h"
#include "sim/event_queue.h"
#include "sim/pauses.h"
#include "sim/route_checker.h"
#include "sim/scenario.h"

namespace ballast::sim {

// What happened, one line each; empty unless asked for, because text costs more than the run.
class Transcript {
 public:
  explicit Transcript(bool enabled) : enabled_(enabled) {}
  bool enabled() const { return enabled_; }
  void Say(Micros time, const std::string& who, const std::string& what) {
    if (enabled_)
      lines_.push_back(absl::StrFormat("%10.6f %-6s %s", static_cast<double>(time) * 1e-6, who, what));
  }
  const std::vector<std::string>& lines() const { return lines_; }

 private:
  const bool enabled_;
  std::vector<std::string> lines_;
};

struct World {
  World(const Scenario& of_seed, uint64_t seed, PlantedBugs planted, bool transcribe)
      : scenario(of_seed),
        job(JobOf(scenario)),
        rng(HashSeed({seed, 2})),
        bugs(planted),
        checkers(*job, store, planted),
        routes(seed, *job),
        transcript(transcribe) {}

  const Scenario scenario;
  const std::shared_ptr<const JobConfig> job;
  EventQueue queue;
  Rng rng;
  const PlantedBugs bugs;
  std::optional<Disk::Folder> resume;  // what the job goes on from; its plan, which is of other ranks
  std::shared_ptr<const PlanBody> resume_plan;
  MemoryStore store;
  Disk disk;
  Checkers checkers;
  RouteChecker routes;
  Pauses pauses;
  Transcript transcript;

  bool faults() const { return queue.now() < scenario.faults_us; }
  // One occasion for a trouble of this rate.
  bool Trouble(double rate) { return faults() && rate > 0 && rng.Chance(rate); }
  Micros UpTo(Micros most) { return most <= 0 ? 0 : rng.Between(0, most); }
  // `what` is a function that makes the text.
  template <class Text>
  void Say(const std::string& who, const Text& what) {
    if (transcript.enabled()) transcript.Say(queue.now(), who, what());
  }
};

}  // namespace ballast::sim
