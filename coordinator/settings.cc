#include "coordinator/settings.h"

#include <cstdio>
#include <fstream>

#include "absl/strings/str_cat.h"

namespace ballast {

void AddCoordinatorOptions(CLI::App& app, CoordinatorSettings& settings) {
  AddDaemonOptions(app, settings.daemon);
  AddOption(app, "--listen", settings.listen, "HOST:PORT of the gRPC services; port 0 takes a free one");
  AddOption(app, "--http", settings.http, "HOST:PORT of /healthz and /readyz over plain HTTP; not set: none");
  AddOption(app, "--data-dir", settings.data_dir, "Directory of the store; made if it is not there")
      ->required();
  AddOption(app, "--port-file", settings.port_file,
            "File to write the ports to that were taken: grpc=PORT, http=PORT, metrics=PORT");
  AddOption(app, "--scale-out-after", settings.scale_out_after_s,
            "Seconds that a job runs before it takes more ranks, up to its ranks.max")
      ->check(CLI::NonNegativeNumber);
  AddOption(app, "--lease", settings.lease_s,
            "For tests: seconds without a message after which either end gives a stream up")
      ->check(CLI::PositiveNumber)
      ->group("");
  AddOption(app, "--failpoint", settings.failpoint, "For tests: PLACE:die or PLACE:stop")->group("");
}

absl::Status WritePortFile(const std::string& path, const std::vector<std::pair<std::string, int>>& ports) {
  std::string partial = absl::StrCat(path, ".partial");
  std::ofstream file(partial);
  for (const auto& [name, port] : ports) {
    if (port > 0) file << name << "=" << port << "\n";
  }
  file.close();
  if (!file || std::rename(partial.c_str(), path.c_str()) != 0) {
    return absl::UnavailableError(absl::StrCat("--port-file ", path, ": cannot be written"));
  }
  return absl::OkStatus();
}

}  // namespace ballast
