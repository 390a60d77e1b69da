// The Session service: one stream per worker, between gRPC and the driver.
#pragma once

#include <memory>

#include "ballast/v1/session.grpc.pb.h"
#include "coordinator/driver.h"
#include "net/limits.h"

namespace ballast {

struct SessionServiceOptions {
  bool insecure = false;                         // no identity is checked
  Duration heartbeat_period = kHeartbeatPeriod;  // both ends say something at least this often
  Duration lease = kLease;                       // a stream without a message for so long is ended
};

// Thread-safe. `driver` must outlive the server.
class SessionService final : public v1::Session::CallbackService {
 public:
  SessionService(Driver* driver, SessionServiceOptions options) : driver_(driver), options_(options) {}

  grpc::ServerBidiReactor<v1::WorkerMessage, v1::CoordinatorMessage>* Attach(
      grpc::CallbackServerContext* context) override;

 private:
  Driver* const driver_;
  const SessionServiceOptions options_;
};

}  // namespace ballast
