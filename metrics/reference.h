// docs/metrics.md, written from the catalog.
#pragma once

#include <string>

namespace ballast {

std::string MetricsReference();

}  // namespace ballast
