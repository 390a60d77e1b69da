// What the two daemons' main functions have in common: options, signals, exit codes.
#pragma once

#include <CLI/App.hpp>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "base/clock.h"
#include "metrics/page_server.h"
#include "net/certificates.h"

namespace ballast {

// Where /metrics is served.
struct MetricsOptions {
  std::string listen;  // HOST:PORT; empty = nowhere
  PageTls tls;
};

struct DaemonOptions {
  CertificateFiles certificates;
  MetricsOptions metrics;
  std::string log_format = "text";
  std::string log_level = "info";
};

// --config, --ca, --cert, --key, --insecure, --metrics-..., --log-format, --log-level; each also as
// BALLAST_<NAME>.
void AddDaemonOptions(CLI::App& app, DaemonOptions& options);

// An option that is also read from the environment variable BALLAST_<NAME>, as --data-dir from
// BALLAST_DATA_DIR, and from the file of --config.
template <class T>
CLI::Option* AddOption(CLI::App& app, const std::string& name, T& value, const std::string& help);
std::string EnvironmentName(const std::string& option);

// Sets the process's logging and blocks SIGTERM and SIGINT in this thread and all it will start; ignores
// SIGPIPE. Call it before there are other threads.
void PrepareProcess(const DaemonOptions& options);
// Waits for SIGTERM or SIGINT, or for RequestStop.
void WaitForStop();
// The same for `longest` at most; false when nothing came.
bool WaitForStop(Duration longest);
// Ends WaitForStop as a signal would. From any thread.
void RequestStop();

// 0 ok, 1 error, 2 usage or bad input, 4 conflict or fenced, 5 unavailable, 6 denied: as ballastctl's.
int ExitCode(const absl::Status& status);

// What is left of main when the options are bound to `app`: parses the arguments, prepares the process as
// `options` then say, runs, logs an error. Returns the exit code.
int DaemonMain(int argc, char** argv, CLI::App& app, const DaemonOptions& options,
               const std::function<absl::Status()>& run);

template <class T>
CLI::Option* AddOption(CLI::App& app, const std::string& name, T& value, const std::string& help) {
  return app.add_option(name, value, help)->envname(EnvironmentName(name))->capture_default_str();
}

}  // namespace ballast
