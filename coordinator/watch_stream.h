// The server stream of one WatchJob call.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <optional>

#include "absl/status/status.h"
#include "ballast/v1/control.pb.h"
#include "base/mutex.h"
#include "coordinator/streams.h"
#include "net/outbox.h"

namespace ballast {

// Make it shared; after Begin it owns itself until gRPC is done with it.
class WatchStream final : public grpc::ServerWriteReactor<v1::JobEvent>,
                          public JobWatcher,
                          public std::enable_shared_from_this<WatchStream> {
 public:
  WatchStream();
  void Begin() { self_ = shared_from_this(); }

  void Send(const JobUpdate& update) override;
  void End(const absl::Status& status) override;
  bool closed() const override;

  void OnWriteDone(bool ok) override;
  void OnCancel() override { End(absl::CancelledError("the watcher left")); }
  void OnDone() override { std::shared_ptr<WatchStream> self = std::move(self_); }

 private:
  // Starts the next write, or the Finish, if nothing is under way. The mutex is not held while gRPC is
  // called.
  void Pump() EXCLUDES(mutex_);

  std::shared_ptr<WatchStream> self_;

  mutable Mutex mutex_;
  Outbox<v1::JobEvent> outbox_ GUARDED_BY(mutex_);
  std::optional<grpc::Status> end_ GUARDED_BY(mutex_);  // set once: finish with it when nothing waits
  bool broken_ GUARDED_BY(mutex_) = false;              // what waits cannot be delivered any more
  bool writing_ GUARDED_BY(mutex_) = false;
  bool finished_ GUARDED_BY(mutex_) = false;

  v1::JobEvent outgoing_;  // of the write under way
};

}  // namespace ballast
