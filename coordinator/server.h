// The coordinator's server: both services, health, reflection, the two plain HTTP pages for probes, and
// /metrics.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "coordinator/control_service.h"
#include "coordinator/coordinator_metrics.h"
#include "coordinator/driver.h"
#include "coordinator/session_service.h"
#include "net/certificates.h"
#include "net/daemon.h"

namespace ballast {

struct ServerOptions {
  std::string listen;  // HOST:PORT; port 0 takes a free one
  std::string http;    // HOST:PORT of /healthz and /readyz; empty = none
  CertificateFiles certificates;
  MetricsOptions metrics_listen;
  CoordinatorMetrics* metrics = nullptr;  // the driver's observer; needed when metrics_listen is set
  ControlService::Options control;
  SessionServiceOptions session;
};

// Starts serving when made. All methods may be called from any thread but gRPC's own.
class CoordinatorServer {
 public:
  // InvalidArgument for unusable certificates or addresses, Unavailable when a port is taken. `driver` must
  // be started and outlive the server.
  static absl::StatusOr<std::unique_ptr<CoordinatorServer>> Start(Driver* driver, ServerOptions options);
  virtual ~CoordinatorServer() = default;

  virtual int port() const = 0;
  virtual int http_port() const = 0;     // 0 = none
  virtual int metrics_port() const = 0;  // 0 = none

  // NOT_SERVING to whoever asks for health; calls still work.
  virtual void Drain() = 0;
  // Ends what is open within kShutdownDeadline. After it no handler runs.
  virtual void Shutdown() = 0;
};

}  // namespace ballast
