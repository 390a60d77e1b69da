#include "worker/settings.h"

#include <CLI/Validators.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace ballast {

void AddWorkerOptions(CLI::App& app, WorkerSettings& settings) {
  AddDaemonOptions(app, settings.daemon);
  AddOption(app, "--coordinator", settings.coordinator, "HOST:PORT of the coordinator")->required();
  AddOption(app, "--name", settings.name, "Name of this worker; not set: the certificate's worker/<name>");
  AddOption(app, "--node", settings.node,
            "Node it runs on; workers of one node talk cheaply. Not set: the host's name");
  app.add_option("--label", settings.labels,
                 "k=v, shown by `ballastctl worker list`; several with commas between them, or one by one")
      ->delimiter(',')
      ->envname(EnvironmentName("--label"));
  AddOption(app, "--device", settings.device,
            "Where the ranks compute: cpu, cuda (a rank on every device of this machine), or cuda:N,N,... (a "
            "rank on "
            "each of these)");
  AddOption(app, "--ranks", settings.ranks,
            "Ranks of this worker; not set: one on the CPU, one for each CUDA device")
      ->check(CLI::Range(1, 64));
  AddOption(app, "--memory-max", settings.memory_max,
            "Bytes for weights, gradients and optimizer state of all ranks, or on each CUDA device; plans "
            "that need "
            "more are refused. 0: all there is")
      ->check(CLI::NonNegativeNumber);
  AddOption(app, "--data-address", settings.data_address,
            "Host or address that peers connect to; not set: the one towards the coordinator");
  AddOption(app, "--rendezvous-timeout", settings.rendezvous_timeout_s,
            "Seconds for all ranks of a job to be connected")
      ->check(CLI::PositiveNumber);
  AddOption(app, "--exchange-timeout", settings.exchange_timeout_s,
            "Seconds for one exchange among the ranks, waiting for slower ones included")
      ->check(CLI::PositiveNumber);
  AddOption(app, "--drain-timeout", settings.drain_timeout_s,
            "Seconds that a stopped worker waits for its ranks to be moved away; 0: leave at once")
      ->check(CLI::NonNegativeNumber);
  AddOption(app, "--protocol-version", settings.protocol_version, "For tests: says another version in Hello")
      ->group("");
  AddOption(app, "--failpoint", settings.failpoint, "For tests: PLACE:die or PLACE:stop")->group("");
}

absl::StatusOr<std::map<std::string, std::string>> ParseLabels(const std::vector<std::string>& labels) {
  std::map<std::string, std::string> parsed;
  for (const std::string& label : labels) {
    size_t equals = label.find('=');
    if (equals == std::string::npos || equals == 0) {
      return absl::InvalidArgumentError(absl::StrCat("--label: found \"", label, "\", allowed: key=value"));
    }
    if (!parsed.emplace(label.substr(0, equals), label.substr(equals + 1)).second) {
      return absl::InvalidArgumentError(
          absl::StrCat("--label: ", label.substr(0, equals), " is given twice"));
    }
  }
  return parsed;
}

absl::StatusOr<std::string> ChooseName(const std::string& name, const std::string& identity) {
  if (identity.empty()) {
    if (!name.empty()) return name;
    return absl::InvalidArgumentError("--name is not set, and without a certificate there is no other");
  }
  absl::string_view certified = identity;
  if (!absl::ConsumePrefix(&certified, "worker/") || certified.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("--cert: the certificate is of ", identity, "; a worker needs one of worker/<name>"));
  }
  if (!name.empty() && name != certified) {
    return absl::InvalidArgumentError(
        absl::StrCat("--name: found \"", name, "\", the certificate is of ", identity));
  }
  return std::string(certified);
}

}  // namespace ballast
