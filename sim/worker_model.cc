// The process: its stream, its runs, its end. The steps of its ranks are in worker_steps.cc.
#include "sim/worker_model.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace ballast::sim {
namespace {

// Until members that do not meet give up.
constexpr Micros kMeetUs = 4'000'000;
// Silence that a neighbour takes for death.
constexpr Micros kSilenceUs = 1'000'000;

SessionOptions OptionsOf(World& world, int number, int64_t life) {
  SessionOptions options;
  options.identity.worker = WorkerId(absl::StrCat("w", number + 1));
  options.identity.incarnation = Incarnation(static_cast<uint64_t>(1000 * life + number + 1));
  options.identity.node = absl::StrCat("node", number + 1);
  options.identity.device = "cpu";
  options.identity.ranks = world.scenario.ranks_per_worker;
  options.bugs = world.bugs;
  // Room for another plan comes and goes: what was promised once is not asked for again, and what a
  // generation begins with has been looked at alone.
  options.memory_check = [&world](const JobConfig&, const ParameterLayout&,
                                  const std::vector<const PlanBody*>& plans, const std::vector<Rank>&) {
    const bool first = plans.size() == 1;
    if (!first && world.Trouble(world.scenario.refuse)) return absl::ResourceExhaustedError("no room now");
    return absl::OkStatus();
  };
  return options;
}

}  // namespace

WorkerModel::WorkerModel(World& world, Network& network, int number, Surroundings around)
    : world_(world), network_(network), number_(number), around_(std::move(around)) {}

void WorkerModel::Later(Micros delay, std::function<void()> what) {
  world_.queue.In(delay, [this, life = life_, what = std::move(what)]() mutable {
    if (life != life_ || !alive()) return;
    const Micros paused = paused_until_ - world_.queue.now();
    if (paused > 0) return Later(paused, std::move(what));
    what();
  });
}

void WorkerModel::LaterInRun(Micros delay, std::function<void()> what) {
  Later(delay, [this, epoch = epoch_, what = std::move(what)] {
    if (epoch == epoch_ && run_.has_value()) what();
  });
}

Incarnation WorkerModel::incarnation() const { return session_->MakeHello().incarnation; }

void WorkerModel::Start() {
  if (alive()) return;
  ++life_;
  session_ = std::make_unique<Session>(OptionsOf(world_, number_, life_));
  paused_until_ = 0;
  left_.clear();
  kept_ = Left();
  world_.checkers.Watch(WorkerId(name()), session_.get());
  if (life_ > 1) world_.Say(name(), [] { return "starts again"; });
  Attach();
}

void WorkerModel::Crash() {
  if (!alive()) return;
  world_.Say(name(), [] { return "dies"; });
  EndRun();
  world_.checkers.Watch(WorkerId(name()), nullptr);
  session_.reset();
  if (stream_.value() > 0) network_.Break(stream_);
  stream_ = StreamId();
}

void WorkerModel::Pause(Micros duration) {
  if (!alive() || paused_until_ > world_.queue.now()) return;
  world_.Say(name(), [&] { return absl::StrCat("stands still for ", duration, " us"); });
  paused_since_ = world_.queue.now();
  paused_until_ = paused_since_ + duration;
  // The coordinator's lease.
  if (stream_.value() > 0 && duration > 2 * kSilenceUs) {
    world_.queue.In(2 * kSilenceUs, [this, stream = stream_] { network_.Break(stream); });
  }
}

void WorkerModel::CutOff(Micros duration) {
  cut_until_ = world_.queue.now() + duration;
  world_.Say(name(), [&] { return absl::StrCat("is cut off from the coordinators for ", duration, " us"); });
  if (stream_.value() > 0) network_.Break(stream_);
}

void WorkerModel::Attach() {
  const int coordinator = around_.find_coordinator();
  if (coordinator < 0 || cut_until_ > world_.queue.now()) {
    return Later(50'000 + world_.UpTo(100'000), [this] { Attach(); });
  }
  stream_ = network_.Connect(Ends{number_, coordinator, life_}, session_->MakeHello());
}

void WorkerModel::OnStreamClosed(StreamId stream) {
  if (!alive() || stream != stream_) return;
  stream_ = StreamId();
  Later(1 + world_.UpTo(300'000), [this] { Attach(); });
}

void WorkerModel::OnMessage(StreamId stream, const CoordinatorMessage& message) {
  if (!alive()) return;
  const Micros paused = paused_until_ - world_.queue.now();
  if (paused > 0) return Later(paused, [this, stream, message] { OnMessage(stream, message); });
  world_.Say(name(), [&] { return "<- " + ToString(message); });
  SessionActions actions = session_->OnMessage(message);
  Check();
  if (actions.start.has_value())
    world_.checkers.OnAssigned(actions.start->assign, *session_, world_.scenario.quiet);
  CarryOut(std::move(actions));
  if (std::holds_alternative<Refused>(message)) network_.Break(stream);
}

void WorkerModel::CarryOut(SessionActions actions) {
  Check();
  for (const std::string& note : actions.notes) world_.Say(name(), [&] { return "note: " + note; });
  if (actions.abort.has_value()) EndRun();
  if (actions.start.has_value()) StartRun(*actions.start);
  for (const RendezvousValue& value : actions.rendezvous) OnRendezvous(value);
  for (const PublishCheckpoint& publish : actions.publish) Publish(publish);
  for (const WorkerMessage& message : actions.send) {
    world_.Say(name(), [&] { return (stream_.value() > 0 ? "-> " : "drops ") + ToString(message); });
    if (std::holds_alternative<LostPeer>(message) || std::holds_alternative<JobFailure>(message) ||
        std::holds_alternative<Finished>(message))
      world_.checkers.OnLoss(session_->run().generation);
    if (stream_.value() > 0) network_.ToCoordinator(stream_, message);
  }
}

void WorkerModel::StartRun(const StartGeneration& start) {
  run_ = start;
  std::vector<std::string> nodes;
  for (const Member& member : start.assign.members) nodes.push_back(member.node);
  topology_ = Topology::FromNodeNames(nodes);
  met_.clear();
  CarryOut(session_->OnRendezvousPut(session_->run(), name(), "address"));
  LaterInRun(kMeetUs, [this] {
    if (!ranks_.empty()) return;
    world_.Say(name(), [] { return "has not met all members"; });
    CarryOut(session_->OnFailure(session_->run(), Step(), "the members did not meet", /*retry=*/true));
    EndRun();
  });
  LaterInRun(100'000 + world_.UpTo(500'000), [this] { WatchPeers(); });
}

void WorkerModel::EndRun() {
  if (run_.has_value()) {
    const Assign& assign = run_->assign;
    left_.insert(assign.stamp.generation);
    if (!ranks_.empty()) {
      kept_ = {assign, assign.stamp.generation, {}};
      for (RankModel& rank : ranks_)
        kept_.ranks[rank.rank] = {rank.done, std::move(rank.homes), std::move(rank.moved)};
    } else if (run_->kept_in == kept_.generation) {
      kept_.generation = assign.stamp.generation;
    } else {
      kept_ = Left();
    }
  }
  ranks_.clear();
  run_.reset();
  ++epoch_;
}

bool WorkerModel::Gone(Incarnation process, const RunId& run) const {
  if (!alive() || incarnation() != process) return true;
  const Micros now = world_.queue.now();
  if (paused_until_ > now && now - paused_since_ > kSilenceUs) return true;
  return left_.count(run.generation) > 0;
}

void WorkerModel::WatchPeers() {
  for (const Member& member : run_->assign.members) {
    if (member.worker.value() == name()) continue;
    const WorkerModel& peer = around_.worker(member.worker);
    if (!peer.Gone(member.incarnation, session_->run()) && around_.connected(number_, peer.number_)) continue;
    return LosePeer(member.rank, "connection reset");
  }
  LaterInRun(100'000 + world_.UpTo(500'000), [this] { WatchPeers(); });
}

void WorkerModel::HangUp() {
  if (!alive() || !run_.has_value() || paused_until_ > world_.queue.now()) return;
  for (const Member& member : run_->assign.members) {
    if (member.worker.value() != name()) return LosePeer(member.rank, "hung up");
  }
}

void WorkerModel::LosePeer(Rank peer, const std::string& detail) {
  const bool finished = !ranks_.empty() && std::all_of(ranks_.begin(), ranks_.end(),
                                                       [](const RankModel& r) { return r.finished; });
  if (finished) return;
  CarryOut(session_->OnLostPeer(session_->run(), peer, detail));
  EndRun();
}

void WorkerModel::OnRendezvous(const RendezvousValue& value) {
  if (!run_.has_value()) return;
  met_.insert(value.key);
  if (ranks_.empty()) StartRanks();
}

void WorkerModel::StartRanks() {
  const Assign& assign = run_->assign;
  for (const Member& member : assign.members) {
    if (met_.count(member.worker.value()) == 0) return;
    if (!around_.connected(number_, around_.worker(member.worker).number_)) {
      return LaterInRun(100'000, [this] {
        if (ranks_.empty()) StartRanks();
      });
    }
  }
  const RunId run = session_->run();
  const int64_t epoch = epoch_;
  for (Rank rank : run_->local_ranks) {
    RankModel& model = ranks_.emplace_back(rank, static_cast<int>(assign.members.size()), assign.plan,
                                           assign.start_step, world_.bugs);
    model.applied = assign.start_step.Plus(-1);
    model.version = assign.plan->stamp.version;
    model.stop_after = Step(world_.job->training.steps);
    assign.retained.value() > 0 ? Resume(model, assign) : Load(model, assign);
    // The generation before has made the job's last step, and perhaps no checkpoint after it.
    if (assign.retained.value() > 0 && assign.start_step > model.stop_after &&
        !world_.job->checkpoint.path.empty()) {
      Write(model, model.stop_after, RequestId(), model.version,
            BlockStates(model.homes.begin(), model.homes.end()));
    }
  }
  for (Rank rank : run_->local_ranks) CarryOut(session_->OnStarted(run, rank));
  for (size_t i = 0; epoch == epoch_ && i < ranks_.size(); ++i) MayBegin(ranks_[i]);
}

void WorkerModel::Load(RankModel& rank, const Assign& assign) {
  const StoredCheckpoint* stored = nullptr;
  // With that bug ranks take what parts there are, and the rest from the checkpoint before.
  const bool parts = Planted(world_.bugs, PlantedBug::kUnpublishedLoaded);
  if (assign.checkpoint.has_value()) {
    stored = world_.disk.Find(assign.checkpoint->directory);
    if ((stored == nullptr || !stored->complete) && !parts) {
      throw Violation("load", absl::StrCat("generation ", assign.stamp.generation.value(), " loads ",
                                           assign.checkpoint->directory, ", which is not complete"));
    }
  }
  const std::vector<Rank>& homes = assign.plan->body.homes;
  for (size_t b = 0; b < homes.size(); ++b) {
    if (homes[b] != rank.rank) continue;
    const BlockId block(static_cast<int32_t>(b));
    const bool missing = parts && (stored == nullptr || stored->blocks.count(block) == 0);
    if (missing) {
      rank.homes[block] = world_.disk.Newest(block);
    } else {
      rank.homes[block] = stored != nullptr ? stored->blocks.at(block) : Step(0);
    }
  }
}

void WorkerModel::Resume(RankModel& rank, const Assign& assign) {
  const auto left = kept_.ranks.find(rank.rank);
  if (kept_.generation != run_->kept_in || left == kept_.ranks.end()) {
    throw Violation("load", absl::StrCat("rank ", rank.rank.value(), " has nothing of generation ",
                                         assign.retained.value()));
  }
  const Step completed = assign.start_step.Plus(-1);
  const bool behind = left->second.done < completed && !Planted(world_.bugs, PlantedBug::kOwnUpdateSkipped);
  Collective& collective = around_.collective(kept_.assign);
  const std::vector<Rank>& homes = assign.plan->body.homes;
  for (size_t b = 0; b < homes.size(); ++b) {
    if (homes[b] != rank.rank) continue;
    const BlockId block(static_cast<int32_t>(b));
    std::optional<Step> state;
    for (const auto* kept : {&left->second.moved, &left->second.homes}) {
      if (const auto it = kept->find(block); it != kept->end()) state = it->second;
    }
    // It has come with the refresh before the last step, and nobody has looked at it yet.
    if (!state.has_value()) state = collective.Take(left->second.done, block);
    if (!state.has_value()) {
      throw Violation("load", absl::StrCat("rank ", rank.rank.value(), " goes on behind step ",
                                           completed.value(), " without block ", block.value()));
    }
    if (behind) {
      world_.checkers.OnUpdate(rank.rank, block, *state, completed);
      state = completed;
    }
    rank.homes[block] = *state;
  }
  if (behind) world_.checkers.OnOwnUpdate();
  left->second = {completed, rank.homes, {}};
}

Step WorkerModel::step() const {
  Step lowest;
  for (const RankModel& rank : ranks_) lowest = lowest.value() == 0 ? rank.step : std::min(lowest, rank.step);
  return lowest;
}

}  // namespace ballast::sim
