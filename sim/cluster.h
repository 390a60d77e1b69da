// Cluster: all processes of a run, the supervisor that restarts coordinators, and the operator who pushes
// plans.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "sim/coordinator_model.h"
#include "sim/network.h"
#include "sim/worker_model.h"
#include "sim/world.h"

namespace ballast::sim {

class Cluster {
 public:
  explicit Cluster(World& world);

  // Runs until faults have stopped and everything is resolved. Throws Violation.
  void Run();
  Step step() const;

 private:
  void StartCoordinator();
  // Sees to it that one process leads; starts another beside one that stands still, as real supervisors do.
  void Supervise();
  void Tick();
  void Operate();
  void Push(CoordinatorModel& leader);
  CoordinatorModel* Leader();
  // The coordinator a worker finds: mostly the newest.
  int FindCoordinator();

  World& world_;
  Network network_;
  Collective collective_;
  std::vector<std::unique_ptr<CoordinatorModel>> coordinators_;
  std::vector<std::unique_ptr<WorkerModel>> workers_;
  bool starting_ = false;  // a coordinator is about to be started
  bool stop_sent_ = false;
  int64_t replies_ = 0;
};

}  // namespace ballast::sim
