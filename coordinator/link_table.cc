#include "coordinator/link_table.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace ballast {
namespace {

absl::Status Wrong(const std::string& field, const std::string& found, const std::string& allowed) {
  return absl::InvalidArgumentError(absl::StrCat(field, ": found ", found, ", allowed ", allowed));
}

absl::Status CheckLink(const std::string& path, const LinkProbe& link, const std::vector<Member>& members) {
  const auto ranks = static_cast<int32_t>(members.size());
  if (link.from.value() < 0 || link.from.value() >= ranks) {
    return Wrong(path + ".from", absl::StrCat(link.from.value()), absl::StrCat("0..", ranks - 1));
  }
  if (link.to.value() < 0 || link.to.value() >= ranks) {
    return Wrong(path + ".to", absl::StrCat(link.to.value()), absl::StrCat("0..", ranks - 1));
  }
  if (members[link.from.index()].node == members[link.to.index()].node) {
    return Wrong(path + ".to", absl::StrCat(link.to.value()), "a rank of another node");
  }
  if (!link.failure.empty()) return absl::OkStatus();
  if (!std::isfinite(link.latency_seconds) || link.latency_seconds < 0) {
    return Wrong(path + ".latency_seconds", absl::StrCat(link.latency_seconds), "at least 0");
  }
  if (!std::isfinite(link.bytes_per_second) || link.bytes_per_second <= 0) {
    return Wrong(path + ".bytes_per_second", absl::StrCat(link.bytes_per_second), "more than 0");
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status LinkTable::OnReport(const LinkReport& report, const std::vector<Member>& members, Time now) {
  for (size_t i = 0; i < report.links.size(); ++i) {
    BALLAST_RETURN_IF_ERROR(CheckLink(absl::StrCat("links[", i, "]"), report.links[i], members));
  }
  for (const LinkProbe& link : report.links) {
    LinkRecord& record = links_[{members[link.from.index()].node, members[link.to.index()].node}];
    if (!link.failure.empty()) {
      ++record.failures;
      record.last_failure = link.failure;
      continue;
    }
    record.speed = {link.latency_seconds, link.bytes_per_second};
    record.measured = now;
    record.last_failure.clear();
  }
  return absl::OkStatus();
}

void LinkTable::Fill(Topology& topology) const {
  topology.links.assign(static_cast<size_t>(topology.nodes()) * topology.nodes(), {});
  for (int from = 0; from < topology.nodes(); ++from) {
    for (int to = 0; to < topology.nodes(); ++to) {
      auto record = links_.find({topology.node_names[from], topology.node_names[to]});
      if (record != links_.end()) topology.links[from * topology.nodes() + to] = record->second.speed;
    }
  }
}

}  // namespace ballast
