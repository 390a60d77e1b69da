// ballastctl as an operator of a cluster runs it.
#pragma once

#include <string>
#include <vector>

#include "tests/e2e/cluster.h"

namespace ballast {

// Its exit code, -1 when it has not ended within a minute; what it printed is in `said`. The test program
// must depend on the target ballastctl.
int Ctl(const Cluster& cluster, const std::vector<std::string>& arguments, std::string& said);

}  // namespace ballast
