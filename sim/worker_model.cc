#include "sim/worker_model.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace ballast::sim {
namespace {

SessionOptions OptionsOf(World& world, int number) {
  SessionOptions options;
  options.identity.worker = WorkerId(absl::StrCat("w", number + 1));
  options.identity.incarnation = Incarnation(static_cast<uint64_t>(number) + 1);
  options.identity.node = absl::StrCat("node", number + 1);
  options.identity.device = "cpu";
  options.identity.ranks = world.scenario.ranks_per_worker;
  options.bugs = world.bugs;
  // Room that comes and goes: what was promised once is not asked for again.
  options.memory_check = [&world](const JobConfig&, const ParameterLayout&,
                                  const std::vector<const PlanBody*>& plans, const std::vector<Rank>&) {
    const bool first = plans.back()->reason == "contiguous placement";
    if (!first && world.Trouble(world.scenario.refuse)) return absl::ResourceExhaustedError("no room now");
    return absl::OkStatus();
  };
  return options;
}

}  // namespace

void Collective::Put(Rank rank, const StepHeader& header) {
  std::vector<StepHeader>& table = tables_[header.step];
  table.resize(static_cast<size_t>(ranks_));
  table[rank.index()] = header;
  if (++rows_[header.step] < ranks_) return;
  rows_.erase(header.step);
  tables_.erase(header.step.Plus(-20));  // no rank is that far behind
  complete_(header.step);
}

WorkerModel::WorkerModel(World& world, Network& network, Collective& collective, int number,
                         std::function<int()> find_coordinator)
    : world_(world),
      network_(network),
      collective_(collective),
      number_(number),
      find_coordinator_(std::move(find_coordinator)),
      session_(OptionsOf(world, number)) {
  world.checkers.Watch(WorkerId(name()), session_);
}

void WorkerModel::Start() { Attach(); }

void WorkerModel::Attach() {
  const int coordinator = find_coordinator_();
  if (coordinator < 0) {
    world_.queue.In(50'000 + world_.UpTo(100'000), [this] { Attach(); });
    return;
  }
  stream_ = network_.Connect(Ends{number_, coordinator}, session_.MakeHello());
}

void WorkerModel::OnStreamClosed(StreamId stream) {
  if (stream != stream_) return;
  stream_ = StreamId();
  world_.queue.In(1 + world_.UpTo(300'000), [this] { Attach(); });
}

void WorkerModel::OnMessage(StreamId stream, const CoordinatorMessage& message) {
  world_.Say(name(), [&] { return "<- " + ToString(message); });
  SessionActions actions = session_.OnMessage(message);
  Check();
  CarryOut(std::move(actions));
  if (std::holds_alternative<Refused>(message)) network_.Break(stream);
}

void WorkerModel::CarryOut(SessionActions actions) {
  Check();
  for (const std::string& note : actions.notes) world_.Say(name(), [&] { return "note: " + note; });
  if (actions.abort.has_value()) {
    ranks_.clear();
    run_.reset();
  }
  if (actions.start.has_value()) StartRun(*actions.start);
  for (const RendezvousValue& value : actions.rendezvous) OnRendezvous(value);
  for (const WorkerMessage& message : actions.send) {
    world_.Say(name(), [&] { return (stream_.value() > 0 ? "-> " : "drops ") + ToString(message); });
    if (stream_.value() > 0) network_.ToCoordinator(stream_, message);
  }
}

void WorkerModel::StartRun(const StartGeneration& start) {
  run_ = start;
  met_.clear();
  CarryOut(session_.OnRendezvousPut(session_.run(), name(), "address"));
}

void WorkerModel::OnRendezvous(const RendezvousValue& value) {
  met_.insert(value.key);
  if (!run_.has_value() || !ranks_.empty() || static_cast<int>(met_.size()) < world_.scenario.workers) return;
  StartRanks();
}

void WorkerModel::StartRanks() {
  const Assign& assign = run_->assign;
  const RunId run = session_.run();
  for (Rank rank : run_->local_ranks) {
    RankModel& model = ranks_.emplace_back(rank, static_cast<int>(assign.members.size()), assign.plan,
                                           assign.start_step, world_.bugs);
    model.applied = assign.start_step.Plus(-1);
    model.version = assign.plan->stamp.version;
  }
  for (Rank rank : run_->local_ranks) CarryOut(session_.OnStarted(run, rank));
  for (RankModel& rank : ranks_) MayBegin(rank);
}

// A step begins when the table two steps before has been looked at: it says which plan the step has.
void WorkerModel::MayBegin(RankModel& rank) {
  if (rank.computing || rank.finished || rank.applied < rank.step.Plus(-2)) return;
  if (rank.stop_after.has_value() && rank.step > *rank.stop_after) {
    if (rank.applied < *rank.stop_after) return;
    rank.finished = true;
    CarryOut(session_.OnFinished(session_.run(), rank.rank, rank.applied, true));
    return;
  }
  const PlanPtr& plan = rank.fence.PlanFor(rank.step);
  world_.checkers.OnStep(rank.rank, rank.step, plan);
  if (plan->stamp.version != rank.version) {
    rank.version = plan->stamp.version;
    world_.Say(name(), [&] {
      return absl::StrCat("rank ", rank.rank.value(), " begins step ", rank.step.value(), " with plan ",
                          rank.version.value());
    });
    CarryOut(session_.OnActive(session_.run(), rank.rank, rank.version, rank.step));
  }
  rank.computing = true;
  const Micros most = world_.scenario.step_us_max;
  world_.queue.In(most / 2 + world_.UpTo(most / 2), [this, &rank, run = session_.run()] {
    if (!ranks_.empty() && run == session_.run()) PutHeader(rank);
  });
}

void WorkerModel::PutHeader(RankModel& rank) {
  const HeaderCells cells = session_.Cells();
  StepHeader header;
  header.generation = session_.run().generation;
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
  collective_.Put(rank.rank, header);
  MayBegin(rank);
}

void WorkerModel::OnTable(Step step) {
  for (RankModel& rank : ranks_) {
    const Micros after = world_.faults() ? world_.scenario.apply_us_max : 1'000;
    world_.queue.In(1 + world_.UpTo(after), [this, &rank, step, run = session_.run()] {
      if (ranks_.empty() || run != session_.run()) return;
      rank.tables.insert(step);
      ApplyTables(rank);
    });
  }
}

void WorkerModel::ApplyTables(RankModel& rank) {
  while (rank.tables.erase(rank.applied.Next()) > 0) {
    const Step step = rank.applied.Next();
    const Fence::HeldPlan held = [&](PlanVersion version, PlanDigest digest) {
      PlanPtr plan = session_.Held(version, digest);
      world_.checkers.OnDecided(rank.rank, version, digest, plan);
      return plan;
    };
    const absl::StatusOr<FenceDecision> decision = rank.fence.Apply(step, collective_.Table(step), held);
    BALLAST_CHECK_OK(decision.status());
    rank.applied = step;
    if (decision->decided.has_value()) {
      world_.Say(name(), [&] {
        return absl::StrCat("rank ", rank.rank.value(), ": table ", step.value(), " decides plan ",
                            decision->decided->value(), " for step ", decision->switch_step.value());
      });
      CarryOut(session_.OnDecided(session_.run(), rank.rank, *decision->decided, decision->switch_step));
    }
    if (decision->request_kind == RequestKind::kStop) rank.stop_after = decision->request_step;
    CarryOut(session_.OnStepDone(session_.run(), rank.rank, step));
    if (rank.rank == ReporterOf(collective_.Table(step))) Report(rank);
  }
  MayBegin(rank);
}

// A load that wanders: now and then another expert is hot.
void WorkerModel::Report(const RankModel& rank) {
  if (stream_.value() == 0 || !world_.faults() || !world_.scenario.planner) return;
  StepReport report;
  report.job = session_.run().job;
  report.generation = session_.run().generation;
  report.step = rank.applied;
  report.plan = rank.version;
  report.loss = 1;
  report.step_seconds = 0.1;
  report.tokens = 100;
  report.load.step = rank.applied;
  report.load.tokens.assign(1, std::vector<int64_t>(4, 10));
  report.load.tokens[0][static_cast<size_t>(rank.applied.value() / 20 % 4)] = 70;
  report.rank_tokens.assign(1, std::vector<int64_t>(static_cast<size_t>(world_.scenario.ranks()), 1));
  network_.ToCoordinator(stream_, report);
}

Step WorkerModel::step() const {
  Step lowest;
  for (const RankModel& rank : ranks_) lowest = lowest.value() == 0 ? rank.step : std::min(lowest, rank.step);
  return lowest;
}

}  // namespace ballast::sim
