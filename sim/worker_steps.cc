// The steps of a worker's ranks.
#include <algorithm>
#include <utility>

#include "base/check.h"
#include "sim/worker_model.h"

namespace ballast::sim {

// A step begins when the table two steps before has been looked at: it says which plan the step has.
void WorkerModel::MayBegin(RankModel& rank) {
  if (rank.computing || rank.finished || rank.applied < rank.step.Plus(-2)) return;
  if (rank.step > rank.stop_after) {
    if (rank.applied < rank.stop_after || rank.through) return;
    rank.through = true;
    // An evaluation, and the last checkpoint.
    return LaterInRun(1 + world_.UpTo(world_.scenario.step_us_max + world_.scenario.write_us_max),
                      [this, &rank] {
                        around_.collective(run_->assign).Leave(rank.rank);
                        Finish(rank);
                      });
  }
  const PlanPtr& plan = rank.fence.PlanFor(rank.step);
  world_.checkers.OnStep(KeyOf(run_->assign), rank.rank, rank.step, plan);
  CheckRoute(rank, plan);
  if (plan->stamp.version != rank.version) {
    rank.version = plan->stamp.version;
    world_.Say(name(), [&] {
      return absl::StrCat("rank ", rank.rank.value(), " begins step ", rank.step.value(), " with plan ",
                          rank.version.value());
    });
    CarryOut(session_->OnActive(session_->run(), rank.rank, rank.version, rank.step));
  }
  rank.computing = true;
  const Micros most = world_.scenario.step_us_max;
  LaterInRun(most / 2 + world_.UpTo(most / 2), [this, &rank] { PutHeader(rank); });
}

// The ranks leave together: who has ended knows that all are through with their steps.
void WorkerModel::Finish(RankModel& rank) {
  if (!around_.collective(run_->assign).AllLeave()) {
    return LaterInRun(1 + world_.UpTo(20'000), [this, &rank] { Finish(rank); });
  }
  rank.finished = true;
  CarryOut(session_->OnFinished(session_->run(), rank.rank, rank.applied, rank.stopped, rank.drain));
}

void WorkerModel::CheckRoute(const RankModel& rank, const PlanPtr& plan) {
  const bool late = Planted(world_.bugs, PlantedBug::kRouteOfStepBefore) && rank.rank == Rank(0) &&
                    rank.step > run_->assign.start_step;
  const PlanPtr& routed = late ? rank.fence.PlanFor(rank.step.Plus(-1)) : plan;
  world_.routes.OnRoute(KeyOf(run_->assign), rank.rank, rank.step, routed->body, plan->body, topology_);
}

// The header leaves when all reduced gradients are in place: behind update and refresh of the step before.
void WorkerModel::PutHeader(RankModel& rank) {
  Collective& collective = around_.collective(run_->assign);
  const Step before = rank.step.Plus(-1);
  rank.waiting = before >= run_->assign.start_step && !collective.Complete(before);
  if (rank.waiting) return;
  Complete(rank, before);
  const HeaderCells cells = session_->Cells();
  StepHeader header;
  header.generation = session_->run().generation;
  header.step = rank.step;
  if (cells.staged != nullptr) {
    header.staged = cells.staged->stamp.version;
    header.staged_digest = cells.staged_digest;
  }
  header.committed = cells.committed;
  header.request = cells.request;
  header.request_kind = cells.request_kind;
  header.attached = stream_.value() > 0;
  rank.computing = false;
  rank.step = rank.step.Next();
  const int64_t epoch = epoch_;
  collective.Put(rank.rank, header);
  if (epoch == epoch_) MayBegin(rank);
}

void WorkerModel::OnTable(const RunKey& run, Step step) {
  if (!alive() || !run_.has_value() || KeyOf(run_->assign) != run) return;
  for (RankModel& rank : ranks_) {
    const Micros after = world_.faults() ? world_.scenario.apply_us_max : 1'000;
    if (rank.waiting && rank.step == step.Next()) {
      LaterInRun(1, [this, &rank] {
        if (rank.waiting) PutHeader(rank);
      });
    }
    LaterInRun(1 + world_.UpTo(after), [this, &rank, step] {
      rank.tables.insert(step);
      ApplyTables(rank);
    });
  }
}

void WorkerModel::ApplyTables(RankModel& rank) {
  const int64_t epoch = epoch_;
  while (epoch == epoch_ && rank.tables.erase(rank.applied.Next()) > 0) {
    const Step step = rank.applied.Next();
    const Fence::HeldPlan held = [&](PlanVersion version, PlanDigest digest) {
      PlanPtr plan = session_->Held(version, digest);
      world_.checkers.OnDecided(rank.rank, version, digest, plan);
      return plan;
    };
    Collective& collective = around_.collective(run_->assign);
    const absl::StatusOr<FenceDecision> decision = rank.fence.Apply(step, collective.Table(step), held);
    BALLAST_CHECK_OK(decision.status());
    rank.applied = step;
    if (decision->decided.has_value()) {
      world_.Say(name(), [&] {
        return absl::StrCat("rank ", rank.rank.value(), ": table ", step.value(), " decides plan ",
                            decision->decided->value(), " for step ", decision->switch_step.value());
      });
      CarryOut(session_->OnDecided(session_->run(), rank.rank, *decision->decided, decision->switch_step));
    }
    if (decision->request_kind == RequestKind::kStop || decision->request_kind == RequestKind::kDrain) {
      const Step last(world_.job->training.steps);
      const bool drain = decision->request_kind == RequestKind::kDrain;
      rank.stop_after = std::min(decision->request_step, last);
      rank.stopped = !drain && decision->request_step <= last;
      rank.drain = drain && decision->request_step < last;
    }
    if (decision->request_kind == RequestKind::kCheckpoint) {
      rank.checkpoints[decision->request_step] = decision->request;
    }
    Complete(rank, step);
    CarryOut(session_->OnStepDone(session_->run(), rank.rank, step));
    if (rank.rank == ReporterOf(collective.Table(step))) Report(rank);
  }
  if (epoch == epoch_) MayBegin(rank);
}

void WorkerModel::Complete(RankModel& rank, Step step) {
  if (step <= rank.done) return;
  const PlanVersion version = rank.fence.PlanFor(step)->stamp.version;
  if (!session_->OnApplying(session_->run(), rank.rank, step, version)) return;
  world_.checkers.OnApplied(session_->run().generation, step);
  rank.done = step;
  rank.moved.clear();
  Collective& collective = around_.collective(run_->assign);
  const std::vector<Rank>& homes = rank.fence.PlanFor(step)->body.homes;
  const std::vector<Rank>& next = rank.fence.PlanFor(step.Next())->body.homes;
  BlockStates updated;
  for (size_t b = 0; b < homes.size(); ++b) {
    if (homes[b] != rank.rank) continue;
    const BlockId block(static_cast<int32_t>(b));
    auto it = rank.homes.find(block);
    if (it == rank.homes.end()) {
      const std::optional<Step> arrived = collective.Take(step.Plus(-1), block);
      world_.checkers.OnArrived(rank.rank, block, step, arrived);
      it = rank.homes.emplace(block, *arrived).first;
    }
    world_.checkers.OnUpdate(rank.rank, block, it->second, step);
    it->second = step;
    updated[block] = step;
    if (next[b] == rank.rank) continue;
    collective.Send(step, block, it->second);
    rank.moved.insert(*it);
    rank.homes.erase(it);
  }
  auto asked = rank.checkpoints.find(step);
  const CheckpointConfig& config = world_.job->checkpoint;
  const bool due = config.every_steps > 0 && step.value() % config.every_steps == 0;
  const bool last = rank.stop_after == step;
  if (config.path.empty() || !(due || last || asked != rank.checkpoints.end())) return;
  const RequestId request = asked == rank.checkpoints.end() ? RequestId() : asked->second;
  Write(rank, step, request, rank.fence.PlanFor(step.Next())->stamp.version, std::move(updated));
}

// What is written was copied now.
void WorkerModel::Write(const RankModel& rank, Step step, RequestId request, PlanVersion plan,
                        BlockStates blocks) {
  const Generation generation = session_->run().generation;
  Later(1 + world_.UpTo(world_.scenario.write_us_max),
        [this, run = session_->run(), generation, step, request, plan, self = rank.rank,
         blocks = std::move(blocks)] {
          StoredCheckpoint& stored = world_.disk.Of(generation, step);
          stored.blocks.insert(blocks.begin(), blocks.end());
          const CheckpointFile file{absl::StrCat("rank-", self.value()), 1, std::string(64, '0')};
          CarryOut(session_->OnCheckpointWritten(
              run, self, WrittenCheckpoint{.step = step, .plan = plan, .request = request, .files = {file}}));
        });
}

void WorkerModel::Publish(const PublishCheckpoint& message) {
  Later(1 + world_.UpTo(world_.scenario.write_us_max), [this, message] {
    StoredCheckpoint& stored = world_.disk.Of(message.stamp.generation, message.step);
    world_.checkers.OnPublished(message.step, stored.blocks);
    stored.complete = true;
    CarryOut(
        session_->OnCheckpointPublished(RunId{message.stamp.job, message.stamp.generation}, message.step));
  });
}

// A load that wanders: now and then another expert is hot.
void WorkerModel::Report(const RankModel& rank) {
  if (stream_.value() == 0 || !world_.faults() || !world_.scenario.planner) return;
  StepReport report;
  report.job = session_->run().job;
  report.generation = session_->run().generation;
  report.step = rank.applied;
  report.plan = rank.version;
  report.loss = 1;
  report.step_seconds = 0.1;
  report.tokens = 100;
  report.load.step = rank.applied;
  report.load.tokens.assign(1, std::vector<int64_t>(4, 10));
  report.load.tokens[0][static_cast<size_t>(rank.applied.value() / 20 % 4)] = 70;
  report.rank_tokens.assign(1, std::vector<int64_t>(run_->assign.members.size(), 1));
  network_.ToCoordinator(stream_, report);
}

}  // namespace ballast::sim
