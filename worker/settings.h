// The worker's command line.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "net/daemon.h"

namespace ballast {

struct WorkerSettings {
  DaemonOptions daemon;
  std::string coordinator;
  std::string name;
  std::string node;
  std::vector<std::string> labels;  // k=v
  std::string device = "cpu";
  int ranks = 0;          // 0 = not given
  size_t memory_max = 0;  // bytes; 0 = all the host or each device has
  std::string data_address;
  double rendezvous_timeout_s = 60;
  double exchange_timeout_s = 300;
  double drain_timeout_s = 30;
  int protocol_version = 0;
  std::string failpoint;
};

// Declares the options; `settings` must outlive the parsing.
void AddWorkerOptions(CLI::App& app, WorkerSettings& settings);

// "k=v" each. InvalidArgument names the one that is not, or a key that comes twice.
absl::StatusOr<std::map<std::string, std::string>> ParseLabels(const std::vector<std::string>& labels);

// --name, or the one in the certificate; InvalidArgument when they differ or there is none. `identity` is the
// certificate's
// ("worker/w0"), empty without certificates.
absl::StatusOr<std::string> ChooseName(const std::string& name, const std::string& identity);

}  // namespace ballast
