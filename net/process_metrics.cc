#include "net/process_metrics.h"

#include "metrics/catalog.h"
#include "protocol/version.h"

namespace ballast {

void FillProcessMetrics(const std::string& daemon, const CertificateFiles& files, MetricSet& metrics) {
  metrics.Set(metrics::kBuildInfo, {daemon, kVersion, std::to_string(kProtocolVersion)}, 1);
  metrics.Set(metrics::kPlaintext, {}, files.insecure ? 1 : 0);
  if (files.insecure) return;
  // Absent while the file cannot be read, as in the middle of a rotation.
  absl::StatusOr<int64_t> expiry = CertificateExpiry(files.cert);
  if (expiry.ok()) metrics.Set(metrics::kCertificateExpiry, {}, static_cast<double>(*expiry));
}

}  // namespace ballast
