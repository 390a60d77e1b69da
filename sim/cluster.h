// Cluster: all processes of a run, the supervisor that restarts coordinators, and the operator who pushes
// plans.
#pragma once

#include <map>
#include <memory>
#include <optional>
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
  // Things that happen to workers.
  void Trouble();
  void HangUp();
  void Operate();
  void Submit(CoordinatorModel& leader);
  void Push(CoordinatorModel& leader);
  // Drains a worker, or lets one have work again.
  void Drain();
  // Sets the store back to what it was some time ago, as a restored volume.
  void SetStoreBack();
  CoordinatorModel* Leader();
  // The coordinator a worker finds: mostly the newest.
  int FindCoordinator();

  World& world_;
  Network network_;
  std::vector<std::unique_ptr<CoordinatorModel>> coordinators_;
  std::vector<std::unique_ptr<WorkerModel>> workers_;
  std::map<RunKey, std::unique_ptr<Collective>> collectives_;
  std::optional<MemoryStore> old_store_;
  bool set_back_ = false;  // once: the workers know more than the store since then
  int alone_ = -1;         // the worker that tensors do not reach; -1 = none
  bool starting_ = false;  // a coordinator is about to be started
  bool stop_sent_ = false;
  int64_t replies_ = 0;
};

}  // namespace ballast::sim
