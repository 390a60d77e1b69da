// ballast-coordinator: wires the store, the driver and the server, and waits.
#include <CLI/CLI.hpp>
#include <atomic>

#include "base/log.h"
#include "base/status_macros.h"
#include "coordinator/driver.h"
#include "coordinator/load_log.h"
#include "coordinator/server.h"
#include "coordinator/settings.h"
#include "coordinator/sqlite_store.h"
#include "coordinator/strategies.h"

namespace ballast {
namespace {

absl::Status Run(const CoordinatorSettings& settings) {
  BALLAST_ASSIGN_OR_RETURN(Failpoint failpoint, Failpoint::Parse(settings.failpoint, DriverPlaces()));
  BALLAST_RETURN_IF_ERROR(CheckCertificateFiles(settings.daemon.certificates));
  BALLAST_ASSIGN_OR_RETURN(std::unique_ptr<StateStore> store, OpenSqliteStore(settings.data_dir));

  BALLAST_ASSIGN_OR_RETURN(std::unique_ptr<LoadLog> loads, OpenLoadLog(settings.data_dir + "/loads"));

  std::atomic<bool> must_end{false};
  CoordinatorMetrics metrics;
  CoreOptions core;
  core.scale_out_after = Seconds(settings.scale_out_after_s);
  Driver driver(std::move(store),
                {.core = core, .failpoint = failpoint, .observer = &metrics, .loads = loads.get()},
                [&must_end](const std::string&) {
                  must_end = true;
                  RequestStop();
                });
  BALLAST_RETURN_IF_ERROR(driver.Start());
  BALLAST_ASSIGN_OR_RETURN(
      std::unique_ptr<CoordinatorServer> server,
      CoordinatorServer::Start(
          &driver,
          {.listen = settings.listen,
           .http = settings.http,
           .certificates = settings.daemon.certificates,
           .metrics_listen = settings.daemon.metrics,
           .metrics = &metrics,
           .control = {.insecure = false, .planners = KnownPlanners(), .strategies = ListStrategies()},
           .session = {.lease = Seconds(settings.lease_s)}}));
  Log(LogLevel::kInfo, "serving",
      {{"port", server->port()},
       {"http_port", server->http_port()},
       {"metrics_port", server->metrics_port()}});
  if (!settings.port_file.empty()) {
    BALLAST_RETURN_IF_ERROR(WritePortFile(
        settings.port_file,
        {{"grpc", server->port()}, {"http", server->http_port()}, {"metrics", server->metrics_port()}}));
  }

  WaitForStop();
  Log(LogLevel::kInfo, "stopping");
  server->Drain();
  driver.Stop();  // ends every stream and closes the store: what comes now is answered with UNAVAILABLE
  server->Shutdown();
  Log(LogLevel::kInfo, "stopped");
  return must_end ? absl::AbortedError("ended by the core; the reason is above") : absl::OkStatus();
}

}  // namespace
}  // namespace ballast

int main(int argc, char** argv) {
  CLI::App app("Keeps a Mixture-of-Experts training job balanced: pushes plans to ballast-worker daemons.");
  ballast::CoordinatorSettings settings;
  ballast::AddCoordinatorOptions(app, settings);
  return ballast::DaemonMain(argc, argv, app, settings.daemon, [&] { return ballast::Run(settings); });
}
