#include "sim/cluster.h"

#include <algorithm>
#include <utility>

namespace ballast::sim {
namespace {

constexpr Micros kTickUs = 100'000;
// After the faults stop, everything must be resolved within so much simulated time.
constexpr Micros kResolveUs = 30'000'000;

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
      network_(
          world,
          {.to_coordinator =
               [this](int c, Event event) { coordinators_[static_cast<size_t>(c)]->Post(std::move(event)); },
           .to_worker =
               [this](int w, StreamId s, const CoordinatorMessage& m) {
                 workers_[static_cast<size_t>(w)]->OnMessage(s, m);
               },
           .closed_at_worker = [this](int w,
                                      StreamId s) { workers_[static_cast<size_t>(w)]->OnStreamClosed(s); }}),
      collective_(world.scenario.ranks(), [this](ballast::Step step) {
        for (auto& worker : workers_) worker->OnTable(step);
      }) {
  for (int i = 0; i < world.scenario.workers; ++i) {
    workers_.push_back(
        std::make_unique<WorkerModel>(world, network_, collective_, i, [this] { return FindCoordinator(); }));
  }
}

void Cluster::Run() {
  world_.Say("sim", [&] { return world_.scenario.ToString(); });
  StartCoordinator();
  for (auto& worker : workers_) worker->Start();
  Supervise();
  Tick();
  Operate();
  const Micros end = world_.scenario.faults_us + kResolveUs;
  while (world_.queue.RunOne(end)) {
    const JobRecord* job = world_.store.Job(world_.job->name);
    if (job != nullptr && job->state == JobState::kFailed)
      throw Violation("run", absl::StrCat("the job failed: ", job->reason));
    if (!world_.faults() && (!world_.scenario.stop || stop_sent_) && world_.checkers.Unresolved().empty())
      break;
  }
  const std::string open = world_.checkers.Unresolved();
  if (!open.empty())
    throw Violation("resolve", absl::StrCat(kResolveUs / 1'000'000, " s after the last fault ", open));
}

void Cluster::StartCoordinator() {
  starting_ = false;
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
  world_.queue.In(kTickUs, [this] { Tick(); });
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
      leader->Post(SubmitJob{ReplyToken(++replies_), world_.job});
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
    leader->Post(SubmitJob{ReplyToken(++replies_), world_.job});
  }
  world_.queue.In(1 + world_.UpTo(world_.scenario.push_us_max), [this] { Operate(); });
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
    lowest = lowest.value() == 0 ? step : std::min(lowest, step);
  }
  return lowest;
}

}  // namespace ballast::sim
