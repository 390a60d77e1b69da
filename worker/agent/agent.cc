#include "worker/agent/agent.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "wire/convert_session.h"

namespace ballast {
namespace {

constexpr size_t kItemsMax = 1024;  // one wake-up and a few events of one stream
const Duration kIdle = Seconds(0.5);

Time SteadyNow() { return SteadyClock().Now(); }

// The coordinator was there and ended the handshake: wrong authority, no certificate, plaintext against TLS.
// It looks different from nobody listening ("Connection refused").
bool LooksLikeABrokenHandshake(const absl::Status& status) {
  if (!absl::IsUnavailable(status)) return false;
  for (const char* words : {"andshake", "SSL", "Socket closed", "Connection reset", "Broken pipe",
                            "CERTIFICATE", "certificate"}) {
    if (absl::StrContains(status.message(), words)) return true;
  }
  return false;
}

}  // namespace

Agent::Agent(AgentOptions options, SessionHost* host)
    : options_(std::move(options)),
      host_(host),
      mailbox_(kItemsMax),
      backoff_(options_.retry_first, options_.retry_longest, options_.seed) {}

void Agent::Wake() {
  if (!wake_posted_.exchange(true)) mailbox_.Post(WakeUp{});
}

void Agent::Stop() {
  stopping_ = true;
  wake_posted_ = false;
  Wake();
}

absl::Status Agent::Run() {
  next_attempt_ = SteadyNow();
  while (true) {
    Time now = SteadyNow();
    if (stopping_ && Farewell(now)) break;
    if (ended_ && stream_ == nullptr) break;
    if (stream_ == nullptr && !stopping_ && now >= next_attempt_) BeginStream();
    Time wait_until =
        stream_ == nullptr && !stopping_ ? next_attempt_ : now + (stopping_ ? Seconds(0.05) : kIdle);
    std::optional<Item> item = mailbox_.TakeUntil(wait_until);
    if (item.has_value()) {
      if (std::holds_alternative<WakeUp>(*item)) {
        wake_posted_ = false;
      } else {
        Handle(std::get<FromStream>(std::move(*item)));
      }
    }
    if (stream_ != nullptr) Watch(SteadyNow());
    Pump();
  }
  return result_;
}

void Agent::BeginStream() {
  ++attempt_;
  writing_ = welcomed_ = said_writes_done_ = false;
  open_ = true;
  heartbeat_ = lease_ = Duration{};
  heard_ = written_ = SteadyNow();
  stream_ = AttachClient::Begin(options_.target, options_.credentials,
                                [this, attempt = attempt_](StreamEvent event) {
                                  // A handful of events at most is under way for one stream, so this always
                                  // fits.
                                  mailbox_.Post(FromStream{attempt, std::move(event)});
                                });
  Hello hello = host_->BeginStream();
  if (options_.protocol_version != 0) hello.protocol_version = options_.protocol_version;
  writing_ = true;
  stream_->Write(ToProto(WorkerMessage(std::move(hello))));
}

void Agent::Handle(FromStream item) {
  if (item.attempt != attempt_ || stream_ == nullptr) return;
  if (auto* read = std::get_if<StreamRead>(&item.event)) {
    heard_ = SteadyNow();
    if (open_) OnRead(read->message);
    if (open_) stream_->ReadNext();
  } else if (std::holds_alternative<StreamWritten>(item.event)) {
    writing_ = false;
  } else if (std::holds_alternative<StreamEnded>(item.event)) {
    if (open_) stream_->LetGo();
    open_ = false;
  } else {
    OnDone(std::get<StreamDone>(item.event).status);
  }
}

void Agent::OnRead(const v1::CoordinatorMessage& proto) {
  if (proto.has_heartbeat()) return;
  absl::StatusOr<CoordinatorMessage> message = FromProto(proto);
  if (!message.ok()) {
    // Breaking the stream over a plan would only bring the same plan again with the next stream.
    if (auto stage = AsUnreadableStage(proto, message.status())) return host_->OnUnreadableStage(*stage);
    return Break(std::string(message.status().message()));
  }
  if (proto.has_welcome()) {
    welcomed_ = ever_welcomed_ = true;
    broken_handshakes_ = 0;
    backoff_.Reset();
    last_trouble_.clear();
    heartbeat_ = std::chrono::milliseconds(proto.welcome().heartbeat_ms());
    lease_ = std::chrono::milliseconds(proto.welcome().lease_ms());
    Log(LogLevel::kInfo, "attached", {{"coordinator", options_.target}, {"term", proto.welcome().term()}});
  }
  if (!host_->OnMessage(*message)) {
    ended_ = true;
    const auto* refused = std::get_if<Refused>(&*message);
    result_ = absl::FailedPreconditionError(
        absl::StrCat("the coordinator at ", options_.target,
                     " refused this worker: ", refused != nullptr ? refused->reason : ""));
    Break("refused");
  }
}

void Agent::OnDone(const absl::Status& status) {
  stream_.reset();
  host_->EndStream();
  bool was_welcomed = std::exchange(welcomed_, false);
  next_attempt_ = SteadyNow() + backoff_.Next();
  if (ended_ || stopping_) return;
  if (absl::IsPermissionDenied(status) && !ever_welcomed_) {
    ended_ = true;
    result_ = status;
    return;
  }
  if (!ever_welcomed_ && LooksLikeABrokenHandshake(status) &&
      ++broken_handshakes_ >= options_.handshakes_max) {
    ended_ = true;
    result_ = absl::UnauthenticatedError(absl::StrCat(
        "the coordinator at ", options_.target, " ended ", broken_handshakes_,
        " handshakes: --cert may not come from its authority, or its certificate not from --ca, or not "
        "name that host, or one side uses --insecure (",
        std::string(status.message()), ")"));
    return;
  }
  std::string trouble(status.message());
  if (was_welcomed || trouble != last_trouble_) {
    Log(LogLevel::kWarning, "not attached; training goes on, will try again",
        {{"coordinator", options_.target},
         {"reason", trouble},
         {"reports_dropped", host_->reports_dropped()}});
  }
  last_trouble_ = std::move(trouble);
}

void Agent::Pump() {
  if (stream_ == nullptr || !open_ || !welcomed_ || writing_ || said_writes_done_) return;
  if (host_->Breaking()) return Break("too many messages wait");
  std::optional<WorkerMessage> next = host_->TakeOutgoing();
  if (!next.has_value()) return;
  writing_ = true;
  written_ = SteadyNow();
  stream_->Write(ToProto(*next));
}

// Heartbeats, and the lease of a stream that says nothing.
void Agent::Watch(Time now) {
  if (!open_) return;
  if (lease_ > Duration{} && now - heard_ > lease_) return Break("the coordinator is silent");
  if (heartbeat_ > Duration{} && welcomed_ && !writing_ && !said_writes_done_ &&
      now - written_ > heartbeat_) {
    v1::WorkerMessage heartbeat;
    heartbeat.mutable_heartbeat();
    writing_ = true;
    written_ = now;
    stream_->Write(std::move(heartbeat));
  }
}

void Agent::Break(const std::string& reason) {
  if (!open_) return;
  Log(LogLevel::kInfo, "ending the stream", {{"coordinator", options_.target}, {"reason", reason}});
  open_ = false;
  stream_->Cancel();
}

// True when Run may return.
bool Agent::Farewell(Time now) {
  if (stream_ == nullptr) return true;
  if (stop_by_ == Time{}) stop_by_ = now + options_.farewell_max;
  if (open_ && welcomed_ && !writing_ && !said_writes_done_ && !host_->HasOutgoing()) {
    said_writes_done_ = true;
    stream_->WritesDone();
  }
  if (now >= stop_by_ || !welcomed_) Break("stopping");
  return false;
}

}  // namespace ballast
