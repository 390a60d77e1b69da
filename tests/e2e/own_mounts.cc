#include "tests/e2e/own_mounts.h"

#include <sstream>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "tests/e2e/process.h"

namespace ballast {

namespace {

// Whether what is mounted below `directory` would show in other mount namespaces as well.
bool IsShared(const std::string& directory) {
  std::istringstream mounts(ReadFile("/proc/self/mountinfo"));
  size_t longest = 0;
  bool shared = false;
  for (std::string line; std::getline(mounts, line);) {
    const std::vector<std::string> fields = absl::StrSplit(line, ' ');
    if (fields.size() < 5 || !absl::StartsWith(directory, fields[4]) || fields[4].size() < longest) continue;
    longest = fields[4].size();
    shared = absl::StrContains(line, " shared:");
  }
  return shared;
}

}  // namespace

std::vector<std::string> OwnMounts(const Cluster& cluster, const std::string& mounts) {
  std::vector<std::vector<std::string>> ways = {{"/usr/bin/unshare", "-m"}};
  // In a chroot / is no mount point, which unshare could make private. It need not where mounts are private
  // already.
  if (!IsShared(cluster.dir().path()))
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
