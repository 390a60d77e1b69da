// Programs that see other file systems than the test: mount namespaces.
#pragma once

#include <string>
#include <vector>

#include "tests/e2e/cluster.h"

namespace ballast {

// What to put before a program (Cluster::SetPrefix) so that the shell commands `mounts` run before it in a
// mount namespace of its own. Empty when none can be made here (that needs root).
std::vector<std::string> OwnMounts(const Cluster& cluster, const std::string& mounts);

}  // namespace ballast
