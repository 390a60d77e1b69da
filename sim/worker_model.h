// WorkerModel: a place where one worker process after the other runs, each around the real Session, with one
// real Fence per rank.
//
// The agent of a process attaches again and again to some coordinator; its ranks run steps, put their headers
// into the tables of the Collective, look at a finished table when they get to it, and move the state of
// their blocks as the plans say. A process can die, stand still, or lose sight of the coordinators.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "plan/topology.h"
#include "sim/collective.h"
#include "sim/network.h"
#include "sim/world.h"
#include "worker/fence.h"
#include "worker/session.h"

namespace ballast::sim {

class WorkerModel;

// What a worker finds around it.
struct Surroundings {
  std::function<int()> find_coordinator;  // number of one to attach to, or -1
  std::function<Collective&(const Assign& assign)> collective;
  std::function<const WorkerModel&(const WorkerId&)> worker;
  std::function<bool(int a, int b)> connected;  // tensors can travel between these two
};

class WorkerModel {
 public:
  WorkerModel(World& world, Network& network, int number, Surroundings around);

  void Start();                  // a new process
  void Crash();                  // kill -9
  void Pause(Micros duration);   // SIGSTOP, then SIGCONT
  void CutOff(Micros duration);  // from all coordinators, and from nothing else

  // Takes a peer for lost that is not.
  void HangUp();

  void OnMessage(StreamId stream, const CoordinatorMessage& message);
  void OnStreamClosed(StreamId stream);
  // A table is complete: each rank looks at it after a while.
  void OnTable(const RunKey& run, Step step);

  bool alive() const { return session_ != nullptr; }
  int64_t life() const { return life_; }
  Incarnation incarnation() const;
  Step step() const;  // the lowest of its ranks, in progress
  const Session& session() const { return *session_; }
  // Whether a member of `run` can tell that the process `incarnation` is not in it any more.
  bool Gone(Incarnation incarnation, const RunId& run) const;

 private:
  struct RankModel {
    RankModel(Rank r, int ranks, PlanPtr plan, Step start, PlantedBugs bugs)
        : rank(r), fence(r, ranks, std::move(plan), start, bugs), step(start), done(start.Plus(-1)) {}
    Rank rank;
    Fence fence;
    Step step;                              // in progress, or waiting to begin
    bool computing = false;                 // between the begin of `step` and its header
    bool waiting = false;                   // its header waits for the table before
    Step applied;                           // the last table
    Step done;                              // the last update and refresh
    std::map<BlockId, Step> homes;          // state of the blocks that are at home here
    std::map<BlockId, Step> moved;          // of those that have moved away behind `done`
    std::set<Step> tables;                  // ready to be applied, in order
    PlanVersion version;                    // of the step before
    Step stop_after;                        // the job's last step, or one that was asked for
    bool stopped = false;                   // by a request
    bool drain = false;                     // the same, to go on elsewhere
    std::map<Step, RequestId> checkpoints;  // asked for after these steps
    bool through = false;                   // with its steps
    bool finished = false;
  };

  std::string name() const { return absl::StrCat("w", number_ + 1); }
  // `what` happens after `delay` unless this process has died by then, or stands still: then when it goes on.
  void Later(Micros delay, std::function<void()> what);
  // The same, unless the run has ended as well.
  void LaterInRun(Micros delay, std::function<void()> what);

  void Attach();
  void CarryOut(SessionActions actions);
  void StartRun(const StartGeneration& start);
  void EndRun();
  void OnRendezvous(const RendezvousValue& value);
  void StartRanks();
  void Load(RankModel& rank, const Assign& assign);
  // What the rank held at the end of the generation before; finishes its last step.
  void Resume(RankModel& rank, const Assign& assign);
  // Looks after the other members, as neighbours and communicators do.
  void WatchPeers();
  void LosePeer(Rank peer, const std::string& detail);

  void MayBegin(RankModel& rank);
  void Finish(RankModel& rank);
  // Of the step that begins with `plan`.
  void CheckRoute(const RankModel& rank, const PlanPtr& plan);
  void PutHeader(RankModel& rank);
  void ApplyTables(RankModel& rank);
  // Everything of `step` that comes behind its table: update, refresh, and a checkpoint when one is due.
  void Complete(RankModel& rank, Step step);
  // The rank's part of the checkpoint after `step`; a thread of its own writes it.
  void Write(const RankModel& rank, Step step, RequestId request, PlanVersion plan, BlockStates blocks);
  void Publish(const PublishCheckpoint& message);
  void Report(const RankModel& rank);
  void Check() { world_.checkers.OnSession(WorkerId(name()), *session_); }

  World& world_;
  Network& network_;
  const int number_;
  const Surroundings around_;
  std::unique_ptr<Session> session_;  // null = no process
  int64_t life_ = 0;                  // number of the process
  int64_t epoch_ = 0;                 // of the run, over all processes
  Micros paused_until_ = 0;
  Micros paused_since_ = 0;
  Micros cut_until_ = 0;
  StreamId stream_;  // 0 = detached
  std::optional<StartGeneration> run_;
  Topology topology_;          // of the run
  std::set<Generation> left_;  // runs that this process was in
  // What ranks held when their generation ended.
  struct LeftRank {
    Step done;
    std::map<BlockId, Step> homes, moved;
  };
  struct Left {
    Assign assign;          // of the generation whose states these are
    Generation generation;  // at whose end they were still there
    std::map<Rank, LeftRank> ranks;
  };
  Left kept_;
  std::set<std::string> met_;    // workers whose rendezvous value has come
  std::deque<RankModel> ranks_;  // empty = not running
};

}  // namespace ballast::sim
