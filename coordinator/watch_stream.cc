#include "coordinator/watch_stream.h"

#include <utility>

#include "coordinator/status_proto.h"
#include "net/grpc_status.h"

namespace ballast {
namespace {

constexpr size_t kEventsWaitingMax = 256;
constexpr size_t kStepsWaitingMax = 1024;

}  // namespace

WatchStream::WatchStream() : outbox_(kEventsWaitingMax, kStepsWaitingMax) {}

void WatchStream::Send(const JobUpdate& update) {
  v1::JobEvent event = ToProto(update);
  bool fits = true;
  {
    MutexLock lock(mutex_);
    if (end_.has_value()) return;
    if (event.has_step()) {
      outbox_.PushTelemetry(std::move(event));
    } else {
      fits = outbox_.PushControl(std::move(event));
      broken_ = !fits;
    }
  }
  if (!fits) return End(absl::ResourceExhaustedError("the watcher does not read; watch again"));
  Pump();
}

void WatchStream::End(const absl::Status& status) {
  {
    MutexLock lock(mutex_);
    if (end_.has_value()) return;
    end_ = ToGrpc(status);
    if (absl::IsCancelled(status)) broken_ = true;
  }
  Pump();
}

bool WatchStream::closed() const {
  MutexLock lock(mutex_);
  return end_.has_value();
}

void WatchStream::OnWriteDone(bool ok) {
  {
    MutexLock lock(mutex_);
    writing_ = false;
    if (!ok) broken_ = true;
  }
  if (!ok) End(absl::UnavailableError("the connection broke"));
  Pump();
}

void WatchStream::Pump() {
  grpc::Status end;
  bool finish = false;
  {
    MutexLock lock(mutex_);
    if (writing_ || finished_) return;
    std::optional<v1::JobEvent> next;
    if (!broken_) next = outbox_.Take();
    if (next.has_value()) {
      writing_ = true;
      outgoing_ = *std::move(next);
    } else if (end_.has_value()) {
      finished_ = finish = true;
      end = *end_;
    } else {
      return;
    }
  }
  if (finish) {
    Finish(end);
  } else {
    StartWrite(&outgoing_);
  }
}

}  // namespace ballast
