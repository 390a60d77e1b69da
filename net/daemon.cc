#include "net/daemon.h"

#include <signal.h>
#include <unistd.h>

#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <CLI/Validators.hpp>
#include <cctype>
#include <chrono>
#include <cstdlib>

#include "base/log.h"
#include "net/limits.h"

namespace ballast {
namespace {

sigset_t StopSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  return signals;
}

LogLevel Level(const std::string& name) {
  if (name == "debug") return LogLevel::kDebug;
  if (name == "warning") return LogLevel::kWarning;
  if (name == "error") return LogLevel::kError;
  return LogLevel::kInfo;
}

}  // namespace

std::string EnvironmentName(const std::string& option) {
  std::string name = "BALLAST_";
  for (char c : option.substr(option.find_first_not_of('-'))) {
    name += c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  }
  return name;
}

void AddDaemonOptions(CLI::App& app, DaemonOptions& options) {
  app.set_config("--config", "", "File of options, one key=value a line")->envname("BALLAST_CONFIG");
  CertificateFiles& files = options.certificates;
  AddOption(app, "--ca", files.ca, "PEM file of the authorities that peers' certificates come from");
  AddOption(app, "--cert", files.cert, "PEM file of this process's certificate");
  AddOption(app, "--key", files.key, "PEM file of its private key");
  app.add_flag("--insecure", files.insecure,
               "Plaintext without any identity; excludes --ca, --cert and --key")
      ->envname("BALLAST_INSECURE");
  AddOption(app, "--metrics-listen", options.metrics.listen,
            "HOST:PORT of /metrics for Prometheus; port 0 takes a free one; not set: none");
  AddOption(app, "--metrics-cert", options.metrics.tls.cert,
            "PEM file of the certificate of /metrics; not set: plain HTTP");
  AddOption(app, "--metrics-key", options.metrics.tls.key, "PEM file of its private key");
  AddOption(app, "--metrics-client-ca", options.metrics.tls.client_ca,
            "PEM file: only clients with a certificate from here may scrape; not set: anybody");
  AddOption(app, "--log-format", options.log_format, "text (key=value) or json")
      ->check(CLI::IsMember({"text", "json"}));
  AddOption(app, "--log-level", options.log_level, "debug, info, warning or error")
      ->check(CLI::IsMember({"debug", "info", "warning", "error"}));
}

void PrepareProcess(const DaemonOptions& options) {
  SetLogging(options.log_format == "json" ? LogFormat::kJson : LogFormat::kText, Level(options.log_level));
  sigset_t signals = StopSignals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);
  // gRPC's own lines on stderr have another form, and what matters of them is in the statuses that are
  // logged.
  setenv("GRPC_VERBOSITY", "NONE", /*overwrite=*/0);
}

void WaitForStop() {
  sigset_t signals = StopSignals();
  int signal = 0;
  while (sigwait(&signals, &signal) != 0) {
  }
}

bool WaitForStop(Duration longest) {
  sigset_t signals = StopSignals();
  const auto nanoseconds = std::chrono::duration_cast<std::chrono::nanoseconds>(longest).count();
  const timespec timeout{.tv_sec = static_cast<time_t>(nanoseconds / 1'000'000'000),
                         .tv_nsec = static_cast<long>(nanoseconds % 1'000'000'000)};
  return sigtimedwait(&signals, nullptr, &timeout) > 0;
}

void RequestStop() { kill(getpid(), SIGTERM); }

int ExitCode(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return 0;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kNotFound:
      return 2;
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kAborted:
      return 4;
    case absl::StatusCode::kUnavailable:
      return 5;
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kUnauthenticated:
      return 6;
    default:
      return 1;
  }
}

int DaemonMain(int argc, char** argv, CLI::App& app, const DaemonOptions& options,
               const std::function<absl::Status()>& run) {
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  PrepareProcess(options);
  TrustLocks();
  absl::Status status = run();
  if (!status.ok()) Log(LogLevel::kError, std::string(status.message()));
  return ExitCode(status);
}

}  // namespace ballast
