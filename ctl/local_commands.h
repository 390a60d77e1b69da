// ballastctl data prepare and certs dev: commands that need no coordinator.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "ctl/certs.h"
#include "ctl/context.h"

namespace ballast {

struct DataPrepareArguments {
  std::string prefix;
  std::vector<std::string> paths;
};
absl::Status DataPrepare(const Context& context, const DataPrepareArguments& arguments);

absl::Status CertsDev(const Context& context, const DevCertificates& request);

}  // namespace ballast
