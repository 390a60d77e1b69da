// WorkerModel: one worker daemon around the real Session, with one real Fence per rank.
//
// Its agent attaches again and again to some coordinator; its ranks run steps, put their headers into the
// tables of the Collective, and look at a finished table when they get to it.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "sim/network.h"
#include "sim/world.h"
#include "worker/fence.h"
#include "worker/session.h"

namespace ballast::sim {

// The tables of one generation: complete when every rank has put its row.
class Collective {
 public:
  Collective(int ranks, std::function<void(Step)> complete) : ranks_(ranks), complete_(std::move(complete)) {}
  void Put(Rank rank, const StepHeader& header);
  const std::vector<StepHeader>& Table(Step step) const { return tables_.at(step); }

 private:
  const int ranks_;
  const std::function<void(Step)> complete_;
  std::map<Step, std::vector<StepHeader>> tables_;
  std::map<Step, int> rows_;
};

class WorkerModel {
 public:
  // `find_coordinator` gives the number of a coordinator to attach to, or -1.
  WorkerModel(World& world, Network& network, Collective& collective, int number,
              std::function<int()> find_coordinator);

  void Start();
  void OnMessage(StreamId stream, const CoordinatorMessage& message);
  void OnStreamClosed(StreamId stream);
  // A table is complete: each rank looks at it after a while.
  void OnTable(Step step);

  Step step() const;  // the lowest of its ranks, in progress
  const Session& session() const { return session_; }

 private:
  struct RankModel {
    RankModel(Rank r, int ranks, PlanPtr plan, Step start, PlantedBugs bugs)
        : rank(r), fence(r, ranks, std::move(plan), start, bugs), step(start) {}
    Rank rank;
    Fence fence;
    Step step;               // in progress, or waiting to begin
    bool computing = false;  // between the begin of `step` and its header
    Step applied;            // the last table
    std::set<Step> tables;   // ready to be applied, in order
    PlanVersion version;     // of the step before
    std::optional<Step> stop_after;
    bool finished = false;
  };

  std::string name() const { return absl::StrCat("w", number_ + 1); }
  void Attach();
  void CarryOut(SessionActions actions);
  void StartRun(const StartGeneration& start);
  void OnRendezvous(const RendezvousValue& value);
  void StartRanks();
  void MayBegin(RankModel& rank);
  void PutHeader(RankModel& rank);
  void ApplyTables(RankModel& rank);
  void Report(const RankModel& rank);
  void Check() { world_.checkers.OnSession(WorkerId(name()), session_); }

  World& world_;
  Network& network_;
  Collective& collective_;
  const int number_;
  const std::function<int()> find_coordinator_;
  Session session_;
  StreamId stream_;  // 0 = detached
  std::optional<StartGeneration> run_;
  std::set<std::string> met_;    // workers whose rendezvous value has come
  std::deque<RankModel> ranks_;  // empty = not running
};

}  // namespace ballast::sim
