// The coordinator's command line.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "net/daemon.h"
#include "net/limits.h"

namespace ballast {

struct CoordinatorSettings {
  DaemonOptions daemon;
  std::string listen = "0.0.0.0:7070";
  std::string http;
  std::string data_dir;
  std::string port_file;
  double scale_out_after_s = 10;
  double lease_s = ToSeconds(kLease);
  std::string failpoint;
};

// Declares the options; `settings` must outlive the parsing.
void AddCoordinatorOptions(CLI::App& app, CoordinatorSettings& settings);

// Writes "NAME=PORT" for every port above 0, one a line, by rename: a reader sees all of it or nothing.
absl::Status WritePortFile(const std::string& path, const std::vector<std::pair<std::string, int>>& ports);

}  // namespace ballast
