// The Session service: one stream per worker, between gRPC and the driver.
#pragma once

#include <memory>

#include "ballast/v1/session.grpc.pb.h"
#include "coordinator/driver.h"
#include "coordinator/message_bytes.h"
#include "net/limits.h"

namespace ballast {

struct SessionServiceOptions {
  bool insecure = false;                         // no identity is checked
  Duration heartbeat_period = kHeartbeatPeriod;  // both ends say something at least this often
  Duration lease = kLease;                       // a stream without a message for so long is ended
};

// Thread-safe. `driver` must outlive the server.
// Streams carry bytes, so that what goes to many workers is converted once.
class SessionService final : public v1::Session::WithRawCallbackMethod_Attach<v1::Session::Service> {
 public:
  SessionService(Driver* driver, SessionServiceOptions options) : driver_(driver), options_(options) {}

  grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* Attach(
      grpc::CallbackServerContext* context) override;

 private:
  Driver* const driver_;
  const SessionServiceOptions options_;
  MessageBytes bytes_;
};

}  // namespace ballast
