// The Session service: one stream per worker, between gRPC and the driver.
#pragma once

#include <memory>

#include "ballast/v1/session.grpc.pb.h"
#include "coordinator/driver.h"

namespace ballast {

// Thread-safe. `driver` must outlive the server. With `insecure` no identity is checked.
class SessionService final : public v1::Session::CallbackService {
 public:
  SessionService(Driver* driver, bool insecure) : driver_(driver), insecure_(insecure) {}

  grpc::ServerBidiReactor<v1::WorkerMessage, v1::CoordinatorMessage>* Attach(
      grpc::CallbackServerContext* context) override;

 private:
  Driver* const driver_;
  const bool insecure_;
};

}  // namespace ballast
