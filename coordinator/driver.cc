#include "coordinator/driver.h"

#include <algorithm>
#include <cmath>
#include <thread>
#include <utility>

#include "base/log.h"
#include "base/status_macros.h"

namespace ballast {
namespace {

// Seconds; NTP's own corrections are far smaller.
constexpr double kWallClockStep = 10;

// Of slow plans, at once: half the machine's cores are left to everything else.
int PlanThreadCount() { return std::clamp(static_cast<int>(std::thread::hardware_concurrency() / 2), 1, 4); }

Time SteadyNow() { return SteadyClock().Now(); }

const absl::Status& Stopping() {
  static const auto& status = *new absl::Status(absl::UnavailableError("the coordinator is stopping"));
  return status;
}

}  // namespace

Driver::Driver(std::unique_ptr<StateStore> store, DriverOptions options,
               std::function<void(const std::string&)> on_exit)
    : options_(std::move(options)),
      on_exit_(std::move(on_exit)),
      mailbox_(options_.mailbox_max),
      store_(std::move(store)),
      core_(options_.core),
      // False alone when it is full: a closed one needs no plan.
      plans_(PlanThreadCount(),
             [this](PlanMade made) { return mailbox_.Post(Event(std::move(made))) || mailbox_.closed(); }) {}

Driver::~Driver() { Stop(); }

absl::Status Driver::Start() {
  BALLAST_ASSIGN_OR_RETURN(LeadershipWon won, Lead(Term(0)));
  Feed(std::move(won));
  if (exited_) return absl::FailedPreconditionError("the core refused to start; its reason is in the log");
  running_ = true;
  thread_ = std::thread([this] { Loop(); });
  return absl::OkStatus();
}

void Driver::Stop() {
  mailbox_.Close();
  if (thread_.joinable()) thread_.join();
}

void Driver::Open(StreamId id, std::shared_ptr<WorkerStream> stream) {
  if (!mailbox_.Post(OpenItem{id, stream})) stream->Close("the coordinator is stopping or overloaded");
}

bool Driver::Attach(StreamId stream, Hello hello) {
  return mailbox_.Post(Event(WorkerAttached{stream, std::move(hello)}));
}

bool Driver::Say(StreamId stream, WorkerMessage message) {
  return mailbox_.Post(Event(WorkerSaid{stream, std::move(message)}));
}

void Driver::Ended(StreamId stream) { mailbox_.Post(Event(StreamClosed{stream})); }

bool Driver::Ask(std::function<Event(ReplyToken)> make_event, OnReply on_reply) {
  return mailbox_.Post(AskItem{std::move(make_event), std::move(on_reply)});
}

bool Driver::Read(std::function<void(const Core*)> read) { return mailbox_.Post(ReadItem{std::move(read)}); }

bool Driver::Watch(JobId job, std::shared_ptr<JobWatcher> watcher) {
  return mailbox_.Post(WatchItem{std::move(job), std::move(watcher)});
}

void Driver::Loop() {
  next_tick_ = SteadyNow();
  while (!exited_) {
    std::optional<Item> item = mailbox_.TakeUntil(next_tick_);
    if (item.has_value()) {
      Handle(*std::move(item));
    } else if (mailbox_.closed()) {
      break;
    }
    if (!exited_ && SteadyNow() >= next_tick_) Tick();
  }
  running_ = false;
  EndAll();
  store_.reset();
  plans_.Stop();  // last: it waits for the layers that are being planned
}

void Driver::Handle(Item item) {
  std::visit([this](auto&& one) { HandleItem(std::move(one)); }, std::move(item));
}

void Driver::HandleItem(Event event) {
  if (const auto* ended = std::get_if<StreamClosed>(&event)) {
    if (streams_.erase(ended->stream) == 0) return;  // told before
  }
  if (const auto* said = std::get_if<WorkerSaid>(&event)) {
    if (streams_.count(said->stream) == 0) return;
  }
  if (const auto* attached = std::get_if<WorkerAttached>(&event)) {
    if (streams_.count(attached->stream) == 0) return;
  }
  Feed(std::move(event));
}

void Driver::HandleItem(OpenItem item) { streams_.emplace(item.id, std::move(item.stream)); }

void Driver::HandleItem(AskItem item) {
  ReplyToken token(next_token_++);
  waiting_.emplace(token, Waiting{std::move(item.on_reply), SteadyNow() + options_.reply_deadline});
  Feed(item.make_event(token));
}

void Driver::HandleItem(ReadItem item) { item.read(&core_); }

void Driver::HandleItem(WatchItem item) {
  absl::StatusOr<JobStatus> status = core_.Job(item.job);
  if (!status.ok()) return item.watcher->End(status.status());
  bool final = IsFinal(status->record.state);
  item.watcher->Send(*std::move(status));
  if (final) return item.watcher->End(absl::OkStatus());
  watchers_[item.job].push_back(std::move(item.watcher));
}

void Driver::WatchWallClock() {
  const Now now = ReadClocks();
  const double by_s =
      1e-3 * static_cast<double>(now.unix_ms - ticked_.unix_ms) - ToSeconds(now.time - ticked_.time);
  if (ticked_.unix_ms > 0 && std::abs(by_s) > kWallClockStep) {
    Log(LogLevel::kWarning, "the wall clock was set: times of events before and after do not compare",
        {{"by_s", by_s}});
  }
  ticked_ = now;
}

void Driver::Tick() {
  WatchWallClock();
  Time now = SteadyNow();
  next_tick_ = now + options_.tick;
  std::vector<StreamId> ended;
  for (auto& [id, stream] : streams_) {
    stream->KeepAlive(now);
    if (stream->closed()) ended.push_back(id);
  }
  for (StreamId id : ended) {
    streams_.erase(id);
    Feed(StreamClosed{id});
  }
  for (auto waiting = waiting_.begin(); waiting != waiting_.end();) {
    auto next = std::next(waiting);
    if (waiting->second.deadline <= now) {
      Reply late{};
      late.token = waiting->first;
      late.status = absl::DeadlineExceededError("the coordinator did not decide in time");
      OnReply on_reply = std::move(waiting->second.on_reply);
      waiting_.erase(waiting);
      on_reply(late, core_);
    }
    waiting = next;
  }
  for (auto job = watchers_.begin(); job != watchers_.end();) {
    std::erase_if(job->second, [](const auto& watcher) { return watcher->closed(); });
    job = job->second.empty() ? watchers_.erase(job) : std::next(job);
  }
  Feed(ballast::Tick{});
}

void Driver::Feed(Event event) {
  queued_.push_back(std::move(event));
  while (!queued_.empty() && !exited_) {
    Event next = std::move(queued_.front());
    queued_.erase(queued_.begin());
    const Time begin = SteadyNow();
    Actions actions = core_.Step(ReadClocks(), std::move(next));
    if (const std::optional<PlannerLook> look = core_.TakeLook()) {
      queued_.push_back(PlanTimed{look->job, look->evaluations, ToSeconds(SteadyNow() - begin)});
    }
    for (Action& action : actions) {
      if (!CarryOut(action)) break;
    }
  }
}

bool Driver::CarryOut(Action& action) {
  return std::visit([this](const auto& one) { return CarryOutOne(one); }, action);
}

bool Driver::CarryOutOne(const StoreWrite& write) {
  PassFailpoint(write);
  const Time begin = SteadyNow();
  absl::Status status = store_->Commit(write.transaction);
  if (options_.observer != nullptr) options_.observer->OnStoreCommit(SteadyNow() - begin, status.ok());
  if (status.ok()) return true;
  queued_.insert(queued_.begin(), StoreFailed{status});
  return false;
}

bool Driver::CarryOutOne(const Send& send) {
  auto stream = streams_.find(send.stream);
  if (stream == streams_.end())
    return true;  // it has ended; the worker's next Hello brings back what applies
  PassFailpoint(*send.message);
  stream->second->Send(*send.message);
  return true;
}

bool Driver::CarryOutOne(const CloseStream& close) {
  auto stream = streams_.find(close.stream);
  if (stream != streams_.end()) stream->second->Close(close.reason);
  return true;
}

bool Driver::CarryOutOne(const Reply& reply) {
  auto waiting = waiting_.find(reply.token);
  if (waiting == waiting_.end()) return true;  // its deadline came first
  OnReply on_reply = std::move(waiting->second.on_reply);
  waiting_.erase(waiting);
  on_reply(reply, core_);
  return true;
}

bool Driver::CarryOutOne(const Publish& publish) {
  if (options_.observer != nullptr) options_.observer->OnPublish(publish.event, core_, SteadyNow());
  if (const auto* event = std::get_if<JobEvent>(&publish.event)) {
    Log(event->kind == JobEvent::Kind::kAlarm ? LogLevel::kWarning : LogLevel::kInfo, event->text,
        {{"job", event->job.value()},
         {"kind", ToString(event->kind)},
         {"step", event->step.value()},
         {"plan", event->version.value()}});
    TellWatchers(*event);
  } else if (const auto* step = std::get_if<StepEvent>(&publish.event)) {
    Log(LogLevel::kDebug, "step",
        {{"job", step->job.value()},
         {"step", step->point.step.value()},
         {"plan", step->point.plan.value()},
         {"loss", step->point.loss},
         {"imbalance", step->point.imbalance}});
    KeepLoad(*step);
    Tell(step->job, step->point, false);
  } else if (const auto* evaluation = std::get_if<EvaluationEvent>(&publish.event)) {
    Tell(evaluation->job, evaluation->point, false);
  }
  return true;
}

bool Driver::CarryOutOne(const Note& note) {
  Log(note.warning ? LogLevel::kWarning : LogLevel::kInfo, note.text);
  return true;
}

bool Driver::CarryOutOne(const AcquireLeadership& acquire) {
  absl::StatusOr<LeadershipWon> won = Lead(acquire.at_least);
  if (won.ok()) {
    queued_.push_back(*std::move(won));
  } else {
    queued_.push_back(StoreFailed{won.status()});
  }
  return true;
}

bool Driver::CarryOutOne(const MakePlan& make) {
  plans_.Post(make.task);
  return true;
}

bool Driver::CarryOutOne(const GiveUpPlan& give_up) {
  plans_.GiveUp(give_up.look);
  return true;
}

bool Driver::CarryOutOne(const Exit& exit) {
  Log(LogLevel::kError, "the coordinator must end", {{"reason", exit.reason}});
  exited_ = true;
  mailbox_.Close();
  on_exit_(exit.reason);
  return false;
}

void Driver::KeepLoad(const StepEvent& event) {
  if (options_.loads == nullptr) return;
  // A late report is not the newest.
  constexpr size_t kLookedAt = 256;
  const auto reports = core_.Loads(event.job, kLookedAt);
  if (!reports.ok()) return;
  for (auto report = reports->rbegin(); report != reports->rend(); ++report) {
    if ((*report)->step == event.point.step) return options_.loads->Append(**report);
  }
}

void Driver::TellWatchers(const JobEvent& event) {
  if (watchers_.count(event.job) == 0) return;
  if (event.kind == JobEvent::Kind::kState) {
    absl::StatusOr<JobStatus> status = core_.Job(event.job);
    if (status.ok()) Tell(event.job, *status, IsFinal(status->record.state));
    return;
  }
  if (event.kind != JobEvent::Kind::kPlan && event.kind != JobEvent::Kind::kAlarm)
    return Tell(event.job, event, false);
  PlanUpdate update{
      .plan = {}, .step = event.step, .text = event.text, .alarm = event.kind == JobEvent::Kind::kAlarm};
  if (event.version.value() > 0) {
    absl::StatusOr<PlanRecord> plan = core_.PlanOf(event.job, event.version);
    if (plan.ok()) update.plan = *std::move(plan);
  }
  Tell(event.job, update, false);
}

void Driver::Tell(const JobId& job, const JobUpdate& update, bool last) {
  auto watchers = watchers_.find(job);
  if (watchers == watchers_.end()) return;
  for (const std::shared_ptr<JobWatcher>& watcher : watchers->second) {
    watcher->Send(update);
    if (last) watcher->End(absl::OkStatus());
  }
  if (last) watchers_.erase(watchers);
}

absl::StatusOr<LeadershipWon> Driver::Lead(Term at_least) {
  BALLAST_ASSIGN_OR_RETURN(Term term, store_->Acquire(at_least));
  BALLAST_ASSIGN_OR_RETURN(StoreContents contents, store_->Load());
  std::vector<StepReport> loads;
  for (const JobRecord& job : contents.jobs) {
    if (options_.loads == nullptr) break;
    for (StepReport& report : options_.loads->Read(job.config->name)) loads.push_back(std::move(report));
  }
  return LeadershipWon{term, std::move(contents), std::move(loads)};
}

void Driver::PassFailpoint(const CoordinatorMessage& message) {
  const auto pass = [this](PlanVersion version, PlanVersion& sent, const char* before, const char* after) {
    if (sent != version) {
      sent = version;
      return options_.failpoint.Pass(before);
    }
    if (!options_.failpoint.At(after)) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(500));  // for the first to be on its way
    options_.failpoint.Pass(after);
  };
  if (const auto* stage = std::get_if<Stage>(&message))
    pass(stage->plan->stamp.version, staging_, "before-stage", "after-stage");
  if (const auto* commit = std::get_if<Commit>(&message))
    pass(commit->version, committing_, "before-commit", "after-commit");
}

void Driver::PassFailpoint(const StoreWrite& write) const {
  for (const RecordWrite& record : write.transaction.writes) {
    const auto* plan = std::get_if<PlanRecord>(&record);
    if (plan == nullptr || plan->state != PlanState::kActive) continue;
    if (plan->origin != PlanOrigin::kFirst && plan->origin != PlanOrigin::kRecovery)
      options_.failpoint.Pass("before-active");
  }
}

void Driver::EndAll() {
  for (auto& [id, stream] : streams_) stream->Close("the coordinator is stopping");
  streams_.clear();
  for (auto& [token, waiting] : waiting_) {
    Reply reply{};
    reply.token = token;
    reply.status = Stopping();
    waiting.on_reply(reply, core_);
  }
  waiting_.clear();
  for (auto& [job, watchers] : watchers_) {
    for (const std::shared_ptr<JobWatcher>& watcher : watchers) watcher->End(Stopping());
  }
  watchers_.clear();
  // What was posted while the mailbox was still open; each owner is told exactly once.
  while (std::optional<Item> item = mailbox_.TakeUntil(SteadyNow())) {
    if (auto* open = std::get_if<OpenItem>(&*item)) open->stream->Close("the coordinator is stopping");
    if (auto* read = std::get_if<ReadItem>(&*item)) read->read(nullptr);
    if (auto* watch = std::get_if<WatchItem>(&*item)) watch->watcher->End(Stopping());
    if (auto* ask = std::get_if<AskItem>(&*item)) {
      Reply reply{};
      reply.status = Stopping();
      ask->on_reply(reply, core_);
    }
  }
}

Now Driver::ReadClocks() const {
  auto unix_time = std::chrono::system_clock::now().time_since_epoch();
  return {.time = SteadyNow(),
          .unix_ms = std::chrono::duration_cast<std::chrono::milliseconds>(unix_time).count()};
}

}  // namespace ballast
