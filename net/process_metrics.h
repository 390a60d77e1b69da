// What both daemons say of themselves on /metrics.
#pragma once

#include <string>

#include "metrics/metric_set.h"
#include "net/certificates.h"

namespace ballast {

// `daemon` is "coordinator" or "worker". Reads the certificate's date anew: call it for every scrape.
void FillProcessMetrics(const std::string& daemon, const CertificateFiles& files, MetricSet& metrics);

}  // namespace ballast
