#include "coordinator/device_kind.h"

#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace ballast {

std::string DeviceKind(const Hello& hello) {
  const std::string kind = hello.device.substr(0, hello.device.find(':'));
  return kind.empty() ? "unknown" : kind;
}

std::vector<WorkersOfKind> ByKind(const std::vector<const WorkerEntry*>& workers, const std::string& only) {
  std::map<std::pair<bool, std::string>, WorkersOfKind> kinds;
  for (const WorkerEntry* worker : workers) {
    const std::string kind = DeviceKind(worker->hello);
    if (!only.empty() && kind != only) continue;
    WorkersOfKind& of = kinds[{kind != "cuda", kind}];
    of.kind = kind;
    of.ranks += worker->hello.ranks;
    of.workers.push_back(worker);
  }
  std::vector<WorkersOfKind> sorted;
  for (auto& [order, of] : kinds) sorted.push_back(std::move(of));
  return sorted;
}

int RanksOf(const std::vector<WorkersOfKind>& kinds) {
  int ranks = 0;
  for (const WorkersOfKind& of : kinds) ranks += of.ranks;
  return ranks;
}

std::string WaitingText(const std::string& wanted, const std::string& own,
                        const std::vector<const WorkerEntry*>& idle) {
  const std::vector<WorkersOfKind> kinds = ByKind(idle, "");
  const bool others = own.empty() ? kinds.size() > 1 : RanksOf(ByKind(idle, own)) != RanksOf(kinds);
  if (!others) return absl::StrCat(wanted, "; ", RanksOf(kinds), " are attached");
  const std::string attached = absl::StrJoin(kinds, ", ", [](std::string* out, const WorkersOfKind& of) {
    absl::StrAppend(out, of.ranks, " of ", of.kind);
  });
  return absl::StrCat(
      wanted,
      own.empty() ? " of one kind of device" : absl::StrCat(" of ", own, ", the kind of device it began on"),
      "; attached are ", attached);
}

}  // namespace ballast
