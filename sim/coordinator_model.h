// CoordinatorModel: one coordinator process around the real Core: its driver, its crashes and its pauses.
//
// Actions are carried out one at a time. Before each one the process may die or stand still for a while (a
// paused machine, a long disk write) and then go on as if nothing had happened, also when another one leads
// by then.
#pragma once

#include <deque>
#include <memory>
#include <string>

#include "coordinator/core.h"
#include "sim/network.h"
#include "sim/world.h"

namespace ballast::sim {

class CoordinatorModel {
 public:
  CoordinatorModel(World& world, Network& network, int number);

  // Wins leadership. Call once.
  void Start();
  void Post(Event event);
  // Another process leads; this one learns it after a while, as from its lease.
  void Deposed();

  bool alive() const { return core_ != nullptr; }
  bool paused() const { return paused_; }
  const Core& core() const { return *core_; }
  Term term() const { return term_; }

 private:
  std::string name() const { return absl::StrCat("c", number_); }
  void Next();      // takes the next event, when idle
  void CarryOut();  // the current actions from index_ on
  void Store(const StoreWrite& write);
  void Plan(const std::shared_ptr<const PlanTask>& task);
  void End(const std::string& why);

  World& world_;
  Network& network_;
  const int number_;
  std::unique_ptr<Core> core_;  // null = not started, or gone
  Term term_;
  std::deque<Event> inbox_;
  Actions actions_;
  size_t index_ = 0;
  bool busy_ = false;
  bool paused_ = false;
};

}  // namespace ballast::sim
