// The state behind Core, shared by its files.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <utility>

#include "coordinator/core.h"
#include "coordinator/env.h"
#include "coordinator/jobs.h"
#include "coordinator/membership.h"

namespace ballast {

struct Core::State {
  explicit State(CoreOptions core_options) : options(std::move(core_options)) {}

  const CoreOptions options;
  Term term;             // 0 = not leading yet
  std::string refusing;  // why this process does not lead although it could; empty = it leads
  bool adopted = false;  // an operator decided that the store is right and the workers are wrong
  bool ended = false;    // Exit was returned
  Term highest_seen;     // of any worker
  std::optional<ReplyToken> adopt_reply;
  std::set<std::pair<WorkerId, Incarnation>> welcomed;  // by this process: they have heard of `term` from it
  Membership workers;
  JobTable jobs;
  std::optional<PlannerLook> look;  // of the last Step

  void On(Env& env, LeadershipWon& event);
  void On(Env& env, WorkerAttached& event);
  void On(Env& env, StreamClosed& event);
  void On(Env& env, WorkerSaid& event);
  void On(Env& env, StoreFailed& event);
  void On(Env& env, SubmitJob& event);
  void On(Env& env, RequestCheckpoint& event);
  void On(Env& env, StopJob& event);
  void On(Env& env, PushPlan& event);
  void On(Env& env, RollbackPlan& event);
  void On(Env& env, DrainWorker& event);
  void On(Env& env, CordonWorker& event);
  void On(Env& env, Adopt& event);
  void On(Env& env, PlanMade& event);
  void On(Env& env, PlanTimed& event);
  void On(Env& env, Tick& event);

  // Another leader, or a store that was set back, is the only explanation: decides nothing any more.
  void RefuseToLead(Env& env, const std::string& why);
  // Unavailable, while not leading.
  absl::Status Leading() const;
  void ReplyError(Env& env, ReplyToken token, absl::Status status);
  // The job, or NotFound.
  absl::StatusOr<JobEntry*> Find(const JobId& job);
  // What the Hello says of a job fits the store; else why not.
  std::string Contradiction(const Hello& hello) const;
  // Brings a worker that was let in up to date.
  void Resync(Env& env, const WorkerEntry& worker);
  void OnMemberSaid(Env& env, JobEntry& job, WorkerEntry& worker, const WorkerMessage& message);
  JobStatus StatusOf(const JobEntry& job) const;
};

}  // namespace ballast
