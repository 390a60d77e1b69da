#include "coordinator/session_service.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "base/mutex.h"
#include "base/status_macros.h"
#include "coordinator/access.h"
#include "net/grpc_status.h"
#include "net/limits.h"
#include "net/outbox.h"
#include "wire/convert_session.h"

namespace ballast {
namespace {

constexpr char kAttach[] = "/ballast.v1.Session/Attach";
constexpr int kHeartbeatKey = 1;

int Milliseconds(Duration d) {
  return static_cast<int>(std::chrono::duration_cast<std::chrono::milliseconds>(d).count());
}

// One stream. gRPC's callbacks, the driver's Send and Close, and its KeepAlive come from different threads:
// the mutex guards what waits and what is under way, and is never held while gRPC is called.
class AttachStream final : public grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>,
                           public WorkerStream,
                           public std::enable_shared_from_this<AttachStream> {
 public:
  AttachStream(Driver* driver, MessageBytes* bytes, const SessionServiceOptions& options, Identity identity,
               std::string peer)
      : driver_(driver),
        bytes_(bytes),
        options_(options),
        id_(driver->NewStreamId()),
        identity_(std::move(identity)),
        peer_(std::move(peer)),
        outbox_(kControlWaitingMax, 0) {
    heard_ = sent_ = SteadyClock().Now();
  }

  // The stream owns itself until OnDone.
  void Begin() {
    self_ = shared_from_this();
    driver_->Open(id_, self_);
    StartRead(&incoming_);
  }

  // ---- WorkerStream ----

  void Send(const CoordinatorMessage& message) override {
    bool last = std::holds_alternative<Refused>(message);
    bool fits = true;
    grpc::ByteBuffer bytes =
        std::holds_alternative<Welcome>(message) ? ToBytes(WithTimes(ToProto(message))) : bytes_->Of(message);
    {
      MutexLock lock(mutex_);
      if (ending_) return;
      fits = outbox_.PushControl(std::move(bytes));
    }
    if (!fits)
      return End(grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED, "the worker does not read"),
                 "outbox full");
    if (last) return End(grpc::Status::OK, "refused");
    Pump();
  }

  void Close(const std::string& reason) override {
    End(grpc::Status(grpc::StatusCode::UNAVAILABLE, reason), reason);
  }

  void KeepAlive(Time now) override {
    bool silent = false;
    {
      MutexLock lock(mutex_);
      if (ending_) return;
      silent = now - heard_ > options_.lease;
      if (!silent && welcomed_ && now - sent_ > options_.heartbeat_period) {
        v1::CoordinatorMessage heartbeat;
        heartbeat.mutable_heartbeat();
        outbox_.PushLatest(kHeartbeatKey, ToBytes(heartbeat));
      }
    }
    if (silent)
      return End(grpc::Status(grpc::StatusCode::DEADLINE_EXCEEDED, "lease expired"), "lease expired");
    Pump();
  }

  bool closed() const override {
    MutexLock lock(mutex_);
    return ending_;
  }

  // ---- gRPC ----

  void OnReadDone(bool ok) override {
    if (!ok) return End(grpc::Status::OK, "the worker closed it");
    absl::Status status = Receive();
    if (!status.ok()) return End(ToGrpc(status), std::string(status.message()));
    {
      MutexLock lock(mutex_);
      if (ending_) return;
    }
    StartRead(&incoming_);
  }

  void OnWriteDone(bool ok) override {
    {
      MutexLock lock(mutex_);
      writing_ = false;
    }
    if (!ok) End(grpc::Status(grpc::StatusCode::UNAVAILABLE, "the connection broke"), "the connection broke");
    Pump();
  }

  void OnCancel() override { End(grpc::Status::CANCELLED, "cancelled by the worker or the connection"); }

  void OnDone() override {
    // The last thing gRPC does with this object; the driver may hold on to it a little longer.
    std::shared_ptr<AttachStream> self = std::move(self_);
    driver_->Ended(id_);
  }

 private:
  v1::CoordinatorMessage WithTimes(v1::CoordinatorMessage welcome) const {
    welcome.mutable_welcome()->set_heartbeat_ms(Milliseconds(options_.heartbeat_period));
    welcome.mutable_welcome()->set_lease_ms(Milliseconds(options_.lease));
    return welcome;
  }

  // Takes what was read to the driver.
  absl::Status Receive() {
    {
      MutexLock lock(mutex_);
      heard_ = SteadyClock().Now();
    }
    BALLAST_ASSIGN_OR_RETURN(v1::WorkerMessage proto, FromBytes(incoming_));
    if (proto.has_heartbeat()) return absl::OkStatus();
    absl::StatusOr<WorkerMessage> message = FromProto(proto);
    if (!message.ok()) return message.status();
    if (auto* hello = std::get_if<Hello>(&*message)) return Greet(std::move(*hello));
    if (!greeted_) return absl::InvalidArgumentError("the first message of a session must be a Hello");
    return driver_->Say(id_, *std::move(message)) ? absl::OkStatus() : Overloaded();
  }

  absl::Status Greet(Hello hello) {
    if (greeted_) return absl::InvalidArgumentError("a second Hello on one stream");
    if (identity_.role != Role::kAnyone && hello.worker.value() != identity_.name) {
      return absl::PermissionDeniedError(absl::StrCat("the worker calls itself \"", hello.worker.value(),
                                                      "\" and its certificate is of worker/",
                                                      identity_.name));
    }
    greeted_ = true;
    {
      MutexLock lock(mutex_);
      welcomed_ = true;
    }
    Log(LogLevel::kInfo, "worker attached",
        {{"worker", hello.worker.value()}, {"peer", peer_}, {"node", hello.node}, {"ranks", hello.ranks}});
    return driver_->Attach(id_, std::move(hello)) ? absl::OkStatus() : Overloaded();
  }

  static absl::Status Overloaded() {
    return absl::ResourceExhaustedError("the coordinator is stopping or overloaded");
  }

  // Ends the stream once; `status` leaves when what waits has been written.
  void End(const grpc::Status& status, const std::string& reason) {
    {
      MutexLock lock(mutex_);
      if (ending_) return;
      ending_ = true;
      status_ = status;
    }
    Log(LogLevel::kInfo, "worker stream ends", {{"peer", peer_}, {"reason", reason}});
    driver_->Ended(id_);
    Pump();
  }

  // Starts the next write, or the Finish, if nothing is under way.
  void Pump() {
    bool finish = false;
    {
      MutexLock lock(mutex_);
      if (writing_ || finished_) return;
      bool deliver = !ending_ || status_.ok() || status_.error_code() == grpc::StatusCode::UNAVAILABLE;
      std::optional<grpc::ByteBuffer> next;
      if (deliver) next = outbox_.Take();
      if (next.has_value()) {
        writing_ = true;
        sent_ = SteadyClock().Now();
        outgoing_ = *std::move(next);
      } else if (ending_) {
        finished_ = finish = true;
      } else {
        return;
      }
    }
    // Only the thread that set writing_ or finished_ comes here; gRPC keeps the object until both are over.
    if (finish) {
      Finish(status_);
    } else {
      StartWrite(&outgoing_);
    }
  }

  // Constant after construction.
  Driver* const driver_;
  MessageBytes* const bytes_;
  const SessionServiceOptions options_;
  const StreamId id_;
  const Identity identity_;
  const std::string peer_;

  std::shared_ptr<AttachStream> self_;  // from Begin to OnDone

  // Of the reading callbacks, one at a time.
  grpc::ByteBuffer incoming_;
  bool greeted_ = false;

  mutable Mutex mutex_;
  Outbox<grpc::ByteBuffer> outbox_ GUARDED_BY(mutex_);
  bool writing_ GUARDED_BY(mutex_) = false;
  bool welcomed_ GUARDED_BY(mutex_) = false;  // a Hello came: heartbeats make sense
  bool ending_ GUARDED_BY(mutex_) = false;
  bool finished_ GUARDED_BY(mutex_) = false;
  Time heard_ GUARDED_BY(mutex_);
  Time sent_ GUARDED_BY(mutex_);

  grpc::ByteBuffer outgoing_;  // of the write under way
  grpc::Status status_;        // written once, before ending_ is seen
};

// Ends a stream before it begins.
class RefusingStream final : public grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  explicit RefusingStream(const grpc::Status& status) { Finish(status); }
  void OnDone() override { delete this; }
};

}  // namespace

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* SessionService::Attach(
    grpc::CallbackServerContext* context) {
  absl::StatusOr<Identity> identity = Admit(*context, kAttach, options_.insecure);
  if (!identity.ok()) return new RefusingStream(ToGrpc(identity.status()));
  auto stream =
      std::make_shared<AttachStream>(driver_, &bytes_, options_, *std::move(identity), context->peer());
  stream->Begin();
  return stream.get();  // it owns itself until OnDone
}

}  // namespace ballast
