#include "bench/coordinator/simulated_worker.h"

#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "protocol/version.h"
#include "wire/convert_session.h"

namespace ballast {
namespace {

uint64_t IncarnationOf(int index) { return static_cast<uint64_t>(index) + 1; }

v1::WorkerMessage HelloOf(int index) {
  v1::WorkerMessage message;
  v1::Hello& hello = *message.mutable_hello();
  hello.set_protocol_version(kProtocolVersion);
  hello.set_worker(SimulatedWorker::Name(index));
  hello.set_incarnation(IncarnationOf(index));
  hello.set_node(absl::StrCat("node", index / 8));
  hello.set_device("cpu");
  hello.set_ranks(1);
  hello.set_data_address("127.0.0.1");
  hello.set_neighbour_address(absl::StrCat("127.0.0.1:", 10000 + index));
  hello.set_host("here");
  return message;
}

}  // namespace

void Progress::Broken(const std::string& what) {
  std::lock_guard lock(mutex_);
  if (broken_.empty()) broken_ = what;
  changed_.notify_all();
}

void Progress::Expect(PlanVersion version) {
  std::lock_guard lock(mutex_);
  const int64_t bit = version.value() & 1;
  promised_[bit] = committed_[bit] = 0;
}

std::string Progress::broken() {
  std::lock_guard lock(mutex_);
  return broken_;
}

void Progress::Count(int& counter) {
  std::lock_guard lock(mutex_);
  ++counter;
  changed_.notify_all();
}

bool Progress::Wait(const int& counter, int n, double seconds) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, std::chrono::duration<double>(seconds), [&] {
    return counter >= n || !broken_.empty();
  }) && broken_.empty();
}

SimulatedWorker::SimulatedWorker(int index, Progress* progress) : index_(index), progress_(progress) {}

void SimulatedWorker::Attach(const std::string& target,
                             const std::shared_ptr<grpc::ChannelCredentials>& credentials) {
  std::lock_guard lock(mutex_);
  stream_ = LightStream::Begin(target, credentials, [this](LightEvent event) { OnEvent(std::move(event)); });
  writing_ = true;
  stream_->Write(HelloOf(index_));
}

bool SimulatedWorker::refused() {
  std::lock_guard lock(mutex_);
  return done_ && !welcomed_;
}

void SimulatedWorker::Heartbeat() {
  std::lock_guard lock(mutex_);
  if (!welcomed_ || !outgoing_.empty()) return;
  v1::WorkerMessage message;
  message.mutable_heartbeat();
  Send(std::move(message));
}

void SimulatedWorker::Report(RankReport report) {
  std::lock_guard lock(mutex_);
  report.job = JobId(stamp_.job());
  report.generation = Generation(stamp_.generation());
  report.rank = Rank(rank_);
  Send(ToProto(WorkerMessage(std::move(report))));
}

void SimulatedWorker::Report(StepReport report) {
  std::lock_guard lock(mutex_);
  report.job = JobId(stamp_.job());
  report.generation = Generation(stamp_.generation());
  report.plan = PlanVersion(plan_);
  Send(ToProto(WorkerMessage(std::move(report))));
}

void SimulatedWorker::Switch(PlanVersion version, Step step) {
  std::lock_guard lock(mutex_);
  plan_ = version.value();
  v1::WorkerMessage message;
  v1::Active& active = *message.mutable_active();
  *active.mutable_stamp() = stamp_;
  active.set_incarnation(IncarnationOf(index_));
  active.set_version(version.value());
  active.set_switch_step(step.value());
  Send(std::move(message));
}

void SimulatedWorker::Detach() {
  std::unique_lock lock(mutex_);
  leaving_ = true;
  if (stream_ == nullptr || done_) return;
  stream_->Cancel();
  ended_.wait_for(lock, std::chrono::seconds(10), [this] { return done_; });
}

void SimulatedWorker::OnEvent(LightEvent event) {
  std::lock_guard lock(mutex_);
  if (const auto* message = std::get_if<LightMessage>(&event)) {
    if (!leaving_) OnMessage(*message);
  } else if (std::holds_alternative<std::monostate>(event)) {
    writing_ = false;
    if (!leaving_) Pump();
  } else {
    done_ = true;
    ended_.notify_all();
    if (welcomed_ && !leaving_) {
      progress_->Broken(absl::StrCat(Name(index_), ": ", std::get<LightEnded>(event).status.error_message()));
    }
  }
}

void SimulatedWorker::OnMessage(const LightMessage& message) {
  v1::WorkerMessage answer;
  switch (message.kind) {
    case v1::CoordinatorMessage::kWelcome:
      welcomed_ = true;
      progress_->Welcomed();
      break;
    case v1::CoordinatorMessage::kRefused:
    case v1::CoordinatorMessage::kAbort:
      progress_->Broken(message.reason);
      break;
    case v1::CoordinatorMessage::kAssign: {
      v1::Assign assign;
      if (!assign.ParseFromString(message.assign)) return progress_->Broken("an Assign that cannot be read");
      stamp_ = assign.stamp();
      plan_ = assign.plan().version();
      for (const v1::Member& member : assign.members()) {
        if (member.worker() == Name(index_)) rank_ = member.rank();
      }
      v1::Started& started = *answer.mutable_started();
      *started.mutable_stamp() = stamp_;
      started.set_incarnation(IncarnationOf(index_));
      Send(std::move(answer));
      progress_->Started();
      break;
    }
    case v1::CoordinatorMessage::kStage: {
      v1::Staged& staged = *answer.mutable_staged();
      *staged.mutable_stamp() = message.stamp;
      staged.set_incarnation(IncarnationOf(index_));
      staged.set_version(message.version);
      staged.set_digest(message.digest);
      Send(std::move(answer));
      progress_->Promised(PlanVersion(message.version));
      break;
    }
    case v1::CoordinatorMessage::kCommit:
      progress_->Committed(PlanVersion(message.version));
      break;
    default:
      break;
  }
}

void SimulatedWorker::Send(v1::WorkerMessage message) {
  if (leaving_) return;
  outgoing_.push_back(std::move(message));
  Pump();
}

void SimulatedWorker::Pump() {
  if (writing_ || !welcomed_ || outgoing_.empty()) return;
  writing_ = true;
  stream_->Write(std::move(outgoing_.front()));
  outgoing_.pop_front();
}

}  // namespace ballast
