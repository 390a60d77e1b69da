#include "sim/coordinator_model.h"

#include <utility>

namespace ballast::sim {
namespace {

CoreOptions OptionsOf(const World& world) {
  CoreOptions options;
  options.staging_deadline = std::chrono::microseconds(world.scenario.staging_deadline_us);
  options.cool_down = std::chrono::milliseconds(200);
  options.scale_out_after = std::chrono::seconds(1);
  options.drain_timeout = std::chrono::seconds(2);
  options.switch_alarm = std::chrono::seconds(3);
  options.plan_aside = world.scenario.plan_us_max > 0;
  options.bugs = world.bugs;
  return options;
}

}  // namespace

CoordinatorModel::CoordinatorModel(World& world, Network& network, int number)
    : world_(world), network_(network), number_(number) {}

void CoordinatorModel::Start() {
  core_ = std::make_unique<Core>(OptionsOf(world_));
  term_ = *world_.store.Acquire(Term());
  Post(LeadershipWon{term_, *world_.store.Load()});
}

void CoordinatorModel::Post(Event event) {
  if (!alive()) return;
  inbox_.push_back(std::move(event));
  if (!busy_) Next();
}

void CoordinatorModel::Deposed() {
  world_.queue.In(world_.UpTo(world_.faults() ? 3'000'000 : 300'000),
                  [this] { Post(StoreFailed{absl::FailedPreconditionError("the lease has run out")}); });
}

void CoordinatorModel::Next() {
  if (!alive() || inbox_.empty()) return;
  Event event = std::move(inbox_.front());
  inbox_.pop_front();
  if (!std::holds_alternative<Tick>(event)) world_.Say(name(), [&] { return "<- " + ToString(event); });
  const Micros now = world_.queue.now();
  actions_ = core_->Step(Now{Time() + std::chrono::microseconds(now), now / 1000}, std::move(event));
  index_ = 0;
  busy_ = true;
  CarryOut();
}

void CoordinatorModel::CarryOut() {
  paused_ = false;
  if (!alive()) return;
  while (index_ < actions_.size()) {
    if (world_.Trouble(world_.scenario.crash)) return End("crashes");
    if (world_.Trouble(world_.scenario.pause)) {
      paused_ = true;
      world_.Say(name(), [] { return "stands still"; });
      world_.queue.In(1 + world_.UpTo(world_.scenario.pause_us_max), [this] { CarryOut(); });
      return;
    }
    const Action& action = actions_[index_++];
    world_.Say(name(), [&] { return "-> " + ToString(action); });
    if (const auto* write = std::get_if<StoreWrite>(&action)) return Store(*write);
    if (const auto* send = std::get_if<Send>(&action)) network_.ToWorker(send->stream, *send->message);
    if (const auto* close = std::get_if<CloseStream>(&action)) network_.Break(close->stream);
    if (const auto* make = std::get_if<MakePlan>(&action)) Plan(make->task);
    if (const auto* exit = std::get_if<Exit>(&action)) return End(exit->reason);
  }
  busy_ = false;
  Next();
}

// It takes up to many steps; what happens meanwhile goes on.
void CoordinatorModel::Plan(const std::shared_ptr<const PlanTask>& task) {
  world_.queue.In(1 + world_.UpTo(world_.scenario.plan_us_max), [this, task] {
    if (alive()) Post(PlanMade{task->look(), task->Run([] { return false; })});
  });
}

// The result is told after a while; the process may die before and after the transaction takes effect.
void CoordinatorModel::Store(const StoreWrite& write) {
  world_.queue.In(1 + world_.UpTo(world_.scenario.store_us_max), [this, transaction = write.transaction] {
    if (!alive()) return;
    const bool unknown = world_.Trouble(world_.scenario.unknown);
    absl::Status status;
    if (!unknown || world_.rng.Chance(0.5)) {
      status = world_.store.Commit(transaction);
      if (status.ok()) world_.checkers.OnStored(transaction);
    }
    if (unknown) status = absl::UnknownError("no answer");
    if (status.ok()) return CarryOut();
    world_.Say(name(), [&] { return "store: " + status.ToString(); });
    inbox_.push_front(StoreFailed{status});
    busy_ = false;
    Next();
  });
}

void CoordinatorModel::End(const std::string& why) {
  world_.Say(name(), [&] { return "ends: " + why; });
  core_.reset();
  busy_ = false;
  inbox_.clear();
  network_.CoordinatorGone(number_);
}

}  // namespace ballast::sim
