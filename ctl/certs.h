// A development certificate authority and certificates that it signs.
//
// For laptops and tests: the authority's key lies beside the others. In production bring certificates of your
// own with the same subject alternative names.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace ballast {

struct DevCertificates {
  std::string folder;                // made when it is not there
  std::vector<std::string> workers;  // -> worker-<name>.pem, .key with URI spiffe://ballast/worker/<name>
  std::vector<std::string>
      operators;  // -> operator-<name>.pem, .key with URI spiffe://ballast/operator/<name>
  // Names and addresses at which the coordinator is dialled, beside localhost, 127.0.0.1 and ::1.
  std::vector<std::string> hosts;
  int days = 365;
  bool force = false;  // replace files that are there
};

// Writes ca.pem, ca.key, coordinator.pem, coordinator.key and those of the workers and operators: EC P-256
// keys, mode 0600, each file put in place by rename. Returns the paths. Errors: InvalidArgument for a name,
// host or number of days; AlreadyExists (without force) names the first file that is there, and nothing is
// written; else the system's error.
absl::StatusOr<std::vector<std::string>> WriteDevCertificates(const DevCertificates& request);

}  // namespace ballast
