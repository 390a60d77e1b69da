#include "sim/cluster.h"

#include <algorithm>
#include <utility>

namespace ballast::sim {
namespace {

constexpr Micros kTickUs = 100'000;
// After the faults stop, everything must be resolved within so much simulated time.
constexpr Micros kResolveUs = 40'000'000;

// A random other content: an expert's slot moves or is doubled, or a home moves.
PlanBody Mutate(const PlanBody& base, int experts, uint64_t seed) {
  Rng rng(seed);
  PlanBody body = base;
  std::vector<std::vector<Slot>>& slots = body.layers[0].slots;
  const ExpertId expert(static_cast<int>(rng.Below(static_cast<uint64_t>(experts))));
  const size_t to = rng.Below(slots.size());
  const auto holds = [&](const std::vector<Slot>& rank) {
    return std::find(rank.begin(), rank.end(), expert) != rank.end();
  };
  auto empty = std::find(slots[to].begin(), slots[to].end(), std::nullopt);
  if (!holds(slots[to]) && empty != slots[to].end()) {
    if (rng.Chance(0.7)) {
      for (std::vector<Slot>& rank : slots) std::replace(rank.begin(), rank.end(), Slot(expert), Slot());
    }
    *empty = expert;
  }
  if (rng.Chance(0.3)) body.homes[rng.Below(body.homes.size())] = Rank(static_cast<int>(to));
  return body;
}

}  // namespace

Cluster::Cluster(World& world)
    : world_(world),
      network_(world, {.to_coordinator =
                           [this](int c, Event event) {
                             coordinators_[static_cast<size_t>(c)]->Post(std::move(event));
                           },
                       .to_worker =
                           [this](const Ends& ends, StreamId s, const CoordinatorMessage& m) {
                             WorkerModel& worker = *workers_[static_cast<size_t>(ends.worker)];
                             if (worker.life() == ends.life) worker.OnMessage(s, m);
                           },
                       .closed_at_worker =
                           [this](const Ends& ends, StreamId s) {
                             workers_[static_cast<size_t>(ends.worker)]->OnStreamClosed(s);
                           }}) {
  const auto collective = [this](const Assign& assign) -> Collective& {
    const RunKey run = KeyOf(assign);
    std::unique_ptr<Collective>& made = collectives_[run];
    if (made == nullptr) {
      made = std::make_unique<Collective>(static_cast<int>(assign.members.size()),
                                          [this, run](ballast::Step step) {
                                            world_.pauses.OnTable(world_.queue.now(), run.first, step);
                                            for (auto& worker : workers_) worker->OnTable(run, step);
                                          });
    }
    return *made;
  };
  const auto worker = [this](const WorkerId& name) -> const WorkerModel& {
    return *workers_.at(static_cast<size_t>(std::stoi(name.value().substr(1)) - 1));
  };
  for (int i = 0; i < world.scenario.workers; ++i) {
    workers_.push_back(std::make_unique<WorkerModel>(
        world, network_, i,
        Surroundings{.find_coordinator = [this] { return FindCoordinator(); },
                     .collective = collective,
                     .worker = worker,
                     .connected = [this](int a, int b) { return a == b || (a != alone_ && b != alone_); }}));
  }
}

void Cluster::Run() {
  world_.Say("sim", [&] { return world_.scenario.ToString(); });
  StartCoordinator();
  for (auto& worker : workers_) worker->Start();
  Supervise();
  Tick();
  Trouble();
  HangUp();
  Drain();
  Operate();
  const Micros end = world_.scenario.faults_us + kResolveUs;
  while (world_.queue.RunOne(end)) {
    const JobRecord* job = world_.store.Job(world_.job->name);
    // A coordinator that will not lead on a store that was set back is right.
    CoordinatorModel& newest = *coordinators_.back();
    if (set_back_ && newest.alive() && !newest.core().Leader().refusing.empty()) return;
    // The operator's stop ends a job that waits between two generations FAILED, as it says.
    const bool stopped = job != nullptr && job->reason.rfind("stopped by", 0) == 0;
    if (job != nullptr && job->state == JobState::kFailed && !stopped)
      throw Violation("run", absl::StrCat("the job failed: ", job->reason));
    if (!world_.faults() && (!world_.scenario.stop || stop_sent_) && world_.checkers.Unresolved().empty())
      break;
  }
  // On a store that was set back, a worker that has heard of a higher term ignores this leader; the leader
  // hears so when that worker attaches again.
  const CoordinatorModel& last = *coordinators_.back();
  for (const auto& worker : workers_) {
    if (set_back_ && last.alive() && worker->alive() &&
        worker->session().highest_term() > last.core().Leader().term)
      return;
  }
  const std::string open = world_.checkers.Unresolved();
  if (!open.empty())
    throw Violation("resolve", absl::StrCat(kResolveUs / 1'000'000, " s after the last fault ", open));
}

void Cluster::SetStoreBack() {
  for (const auto& worker : workers_) {
    if (!worker->alive()) return;  // a process that died has forgotten what it knew
  }
  // It cannot be set back under a process that uses it.
  for (const auto& coordinator : coordinators_) {
    if (coordinator->alive()) return;
  }
  if (set_back_ || !old_store_.has_value() || !world_.Trouble(world_.scenario.older_store)) return;
  set_back_ = true;
  world_.Say("sim", [] { return "the store is set back"; });
  world_.store = *old_store_;
  world_.checkers.OnStoreSetBack();
}

void Cluster::StartCoordinator() {
  starting_ = false;
  SetStoreBack();
  for (auto& coordinator : coordinators_) coordinator->Deposed();
  const int number = static_cast<int>(coordinators_.size());
  coordinators_.push_back(std::make_unique<CoordinatorModel>(world_, network_, number));
  world_.Say(absl::StrCat("c", number), [] { return "starts"; });
  coordinators_.back()->Start();
}

void Cluster::Supervise() {
  const CoordinatorModel& newest = *coordinators_.back();
  const bool replace = !newest.alive() || (newest.paused() && world_.Trouble(0.2));
  if (replace && !starting_) {
    starting_ = true;
    world_.queue.In(1 + world_.UpTo(world_.scenario.restart_us_max), [this] { StartCoordinator(); });
  }
  world_.queue.In(50'000, [this] { Supervise(); });
}

void Cluster::Tick() {
  for (auto& coordinator : coordinators_) {
    if (coordinator->alive() && !coordinator->paused()) coordinator->Post(ballast::Tick{});
  }
  if (world_.scenario.older_store > 0 && !set_back_ && world_.Trouble(0.03)) old_store_ = world_.store;
  world_.queue.In(kTickUs, [this] { Tick(); });
}

void Cluster::Trouble() {
  const Scenario& s = world_.scenario;
  if (s.lose_us == 0) return;
  if (set_back_ && world_.faults()) return world_.queue.In(100'000, [this] { Trouble(); });
  if (!world_.faults()) {
    alone_ = -1;
    for (auto& worker : workers_) worker->Start();  // those that are not there
    return;
  }
  world_.queue.In(1 + world_.UpTo(2 * s.lose_us), [this] { Trouble(); });
  const int number = static_cast<int>(world_.rng.Below(workers_.size()));
  WorkerModel& worker = *workers_[static_cast<size_t>(number)];
  const double kinds = s.kill + s.pause_worker + s.cut_off + s.partition;
  double kind = world_.rng.Uniform() * kinds;
  if ((kind -= s.kill) < 0) {
    worker.Crash();
    if (world_.rng.Chance(0.7)) {
      world_.queue.In(1 + world_.UpTo(2'000'000), [&worker] { worker.Start(); });
    }
  } else if ((kind -= s.pause_worker) < 0) {
    worker.Pause(1 + world_.UpTo(5'000'000));
  } else if ((kind -= s.cut_off) < 0) {
    worker.CutOff(1 + world_.UpTo(3'000'000));
  } else if (alone_ < 0) {
    alone_ = number;
    world_.Say("sim", [&] { return absl::StrCat("w", number + 1, " is cut off from the other workers"); });
    world_.queue.In(1 + world_.UpTo(3'000'000), [this] { alone_ = -1; });
  }
}

void Cluster::HangUp() {
  if (world_.scenario.hang_up_us == 0 || !world_.faults()) return;
  world_.queue.In(1 + world_.UpTo(2 * world_.scenario.hang_up_us), [this] {
    if (world_.faults()) workers_[world_.rng.Below(workers_.size())]->HangUp();
    HangUp();
  });
}

void Cluster::Drain() {
  const Scenario& s = world_.scenario;
  if (s.drain_us == 0) return;
  CoordinatorModel* leader = Leader();
  const auto name = [](uint64_t worker) { return WorkerId(absl::StrCat("w", worker + 1)); };
  if (!world_.faults()) {
    // All may work again.
    for (size_t i = 0; leader != nullptr && i < workers_.size(); ++i) {
      leader->Post(CordonWorker{ReplyToken(++replies_), name(i), false, "operator/sim"});
    }
    world_.queue.In(500'000, [this] { Drain(); });
    return;
  }
  world_.queue.In(1 + world_.UpTo(2 * s.drain_us), [this] { Drain(); });
  if (leader == nullptr) return;
  const WorkerId worker = name(world_.rng.Below(workers_.size()));
  if (world_.rng.Chance(0.5)) {
    leader->Post(DrainWorker{ReplyToken(++replies_), worker, "operator/sim"});
  } else {
    leader->Post(CordonWorker{ReplyToken(++replies_), worker, false, "operator/sim"});
  }
}

CoordinatorModel* Cluster::Leader() {
  CoordinatorModel& newest = *coordinators_.back();
  return newest.alive() && newest.core().Leader().leading() ? &newest : nullptr;
}

int Cluster::FindCoordinator() {
  std::vector<int> alive;
  for (size_t i = 0; i < coordinators_.size(); ++i) {
    if (coordinators_[i]->alive()) alive.push_back(static_cast<int>(i));
  }
  if (alive.empty()) return -1;
  return world_.faults() && world_.rng.Chance(0.2) ? alive[world_.rng.Below(alive.size())] : alive.back();
}

void Cluster::Operate() {
  CoordinatorModel* leader = Leader();
  if (leader != nullptr && world_.faults()) {
    if (world_.store.Job(world_.job->name) == nullptr) {
      Submit(*leader);
    } else {
      Push(*leader);
    }
  }
  if (leader != nullptr && !world_.faults() && world_.scenario.stop) {
    const JobRecord* job = world_.store.Job(world_.job->name);
    if (job != nullptr && job->state == JobState::kRunning) {
      leader->Post(StopJob{ReplyToken(++replies_), world_.job->name, "operator/sim", false});
    }
    stop_sent_ = job == nullptr || IsFinal(job->state);
  }
  if (leader != nullptr && !world_.faults() && world_.store.Job(world_.job->name) == nullptr) {
    Submit(*leader);
  }
  world_.queue.In(1 + world_.UpTo(world_.scenario.push_us_max), [this] { Operate(); });
}

void Cluster::Submit(CoordinatorModel& leader) {
  SubmitJob submit{ReplyToken(++replies_), world_.job};
  if (world_.resume.has_value()) {
    submit.resume = world_.resume->newest;
    submit.resume_generation = world_.resume->highest;
    submit.resume_plan = world_.resume_plan;
  }
  leader.Post(std::move(submit));
}

void Cluster::Push(CoordinatorModel& leader) {
  const absl::StatusOr<JobStatus> job = leader.core().Job(world_.job->name);
  if (!job.ok()) return;
  PushPlan push;
  push.reply = ReplyToken(++replies_);
  push.job = world_.job->name;
  push.base_version = job->record.active;
  if (world_.rng.Chance(world_.scenario.not_before))
    push.not_before_step = step().Plus(world_.rng.Between(0, 12));
  push.reason = absl::StrCat("push ", replies_);
  push.edit = [seed = world_.rng.Next()](const PlanBody& base,
                                         const JobConfig& config) -> absl::StatusOr<PlanBody> {
    return Mutate(base, config.model.moe.experts, seed);
  };
  push.who = "operator/sim";
  leader.Post(std::move(push));
}

Step Cluster::step() const {
  Step lowest(0);
  for (const auto& worker : workers_) {
    const Step step = worker->step();
    if (step.value() == 0) continue;
    lowest = lowest.value() == 0 ? step : std::min(lowest, step);
  }
  return lowest;
}

}  // namespace ballast::sim
