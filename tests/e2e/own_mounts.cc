#include "tests/e2e/own_mounts.h"

#include "tests/e2e/process.h"

namespace ballast {

std::vector<std::string> OwnMounts(const Cluster& cluster, const std::string& mounts) {
  std::vector<std::vector<std::string>> ways = {{"/usr/bin/unshare", "-m"}};
  // In a chroot / is no mount point, which unshare could make private. Where no mount is shared it need not.
  if (ReadFile("/proc/self/mountinfo").find(" shared:") == std::string::npos)
    ways.push_back({"/usr/bin/unshare", "-m", "--propagation", "unchanged"});
  for (std::vector<std::string>& way : ways) {
    std::vector<std::string> trial = way;
    trial.push_back("/bin/true");
    if (Process(trial, cluster.dir() / "unshare.log").Wait(10) != 0) continue;
    way.insert(way.end(), {"/bin/sh", "-c", mounts + " && exec \"$@\"", "sh"});
    return way;
  }
  return {};
}

}  // namespace ballast
