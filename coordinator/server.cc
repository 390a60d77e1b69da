#include "coordinator/server.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>

#include <chrono>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "metrics/page_server.h"
#include "net/limits.h"
#include "net/process_metrics.h"

namespace ballast {
namespace {

// For probes that cannot speak mutual TLS: the process serves; it leads.
std::map<std::string, Page> ProbePages(Driver* driver) {
  return {{"/healthz", [] { return PageReply{.status = 200, .text = "ok\n"}; }},
          {"/readyz", [driver] {
             const bool ready = driver->running();
             return PageReply{.status = ready ? 200 : 503, .text = ready ? "ready\n" : "not leading\n"};
           }}};
}

class Server final : public CoordinatorServer {
 public:
  Server(Driver* driver, const ServerOptions& options)
      : session_(driver, options.session), control_(driver, options.control) {}

  absl::Status Listen(Driver* driver, const ServerOptions& options) {
    BALLAST_ASSIGN_OR_RETURN(auto credentials, MakeServerCredentials(options.certificates));
    // Before the first server of the process is built.
    grpc::EnableDefaultHealthCheckService(true);
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
    grpc::ServerBuilder builder;
    ApplyLimits(builder);
    builder.AddListeningPort(options.listen, credentials, &port_);
    builder.RegisterService(&session_);
    builder.RegisterService(&control_);
    server_ = builder.BuildAndStart();
    if (server_ == nullptr || port_ == 0) {
      return absl::UnavailableError(
          absl::StrCat("--listen ", options.listen,
                       ": cannot be listened on; is it HOST:PORT, of this machine and free?"));
    }
    Serve(true);
    if (!options.http.empty()) {
      BALLAST_ASSIGN_OR_RETURN(probes_, PageServer::Start("--http", options.http, {}, ProbePages(driver)));
    }
    if (!options.metrics_listen.listen.empty()) {
      BALLAST_CHECK(options.metrics != nullptr) << "/metrics needs its metrics";
      auto page = [driver, metrics = options.metrics, files = options.certificates] {
        MetricSet process;
        FillProcessMetrics("coordinator", files, process);
        return ServeMetrics(*driver, *metrics, process);
      };
      BALLAST_ASSIGN_OR_RETURN(metrics_, PageServer::Start("--metrics-listen", options.metrics_listen.listen,
                                                           options.metrics_listen.tls, {{"/metrics", page}}));
    }
    return absl::OkStatus();
  }

  ~Server() override { Shutdown(); }

  int port() const override { return port_; }
  int http_port() const override { return probes_ == nullptr ? 0 : probes_->port(); }
  int metrics_port() const override { return metrics_ == nullptr ? 0 : metrics_->port(); }

  void Drain() override { Serve(false); }

  void Shutdown() override {
    if (server_ == nullptr) return;
    Serve(false);
    server_->Shutdown(std::chrono::system_clock::now() + kShutdownDeadline);
    server_->Wait();
    server_.reset();
    probes_.reset();
    metrics_.reset();
  }

 private:
  void Serve(bool serving) {
    server_->GetHealthCheckService()->SetServingStatus(serving);  // of the server as a whole
    for (const char* service : {"ballast.v1.Session", "ballast.v1.Control"}) {
      server_->GetHealthCheckService()->SetServingStatus(service, serving);
    }
  }

  SessionService session_;
  ControlService control_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<PageServer> probes_;
  std::unique_ptr<PageServer> metrics_;
  int port_ = 0;
};

}  // namespace

absl::StatusOr<std::unique_ptr<CoordinatorServer>> CoordinatorServer::Start(Driver* driver,
                                                                            ServerOptions options) {
  options.control.insecure = options.session.insecure = options.certificates.insecure;
  auto server = std::make_unique<Server>(driver, options);
  BALLAST_RETURN_IF_ERROR(server->Listen(driver, options));
  return server;
}

}  // namespace ballast
