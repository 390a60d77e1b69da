#include "worker/probes/link_estimate.h"

#include <algorithm>
#include <map>

#include "base/check.h"

namespace ballast {

LinkEstimate EstimateLink(const std::vector<ProbeSample>& samples) {
  std::map<int64_t, double> fastest;  // by size
  for (const ProbeSample& sample : samples) {
    BALLAST_CHECK(sample.bytes > 0 && sample.seconds > 0) << "a sample without a message";
    auto [known, is_new] = fastest.emplace(sample.bytes, sample.seconds);
    if (!is_new) known->second = std::min(known->second, sample.seconds);
  }
  BALLAST_CHECK(!fastest.empty()) << "no samples";
  const auto& [small_bytes, small_seconds] = *fastest.begin();
  const auto& [large_bytes, large_seconds] = *fastest.rbegin();
  LinkEstimate link;
  link.bytes_per_second = large_seconds > small_seconds ? static_cast<double>(large_bytes - small_bytes) /
                                                              (large_seconds - small_seconds)
                                                        : static_cast<double>(large_bytes) / large_seconds;
  link.latency_seconds =
      std::max(0.0, small_seconds - static_cast<double>(small_bytes) / link.bytes_per_second) / 2;
  return link;
}

ProbeDuty ProbeDutyOf(const std::vector<Member>& members, const WorkerId& self) {
  std::vector<const Member*> nodes;  // the lowest rank of each
  for (const Member& member : members) {
    const bool known = std::any_of(nodes.begin(), nodes.end(),
                                   [&](const Member* first) { return first->node == member.node; });
    if (!known) nodes.push_back(&member);
  }
  ProbeDuty duty;
  for (size_t mine = 0; mine < nodes.size(); ++mine) {
    if (nodes[mine]->worker != self) continue;
    duty.self = nodes[mine]->rank;
    for (size_t step = 1; step < nodes.size(); ++step) {
      const size_t other = (mine + step) % nodes.size();
      const bool lower_probes = (mine + other) % 2 == 1;
      if ((mine < other) != lower_probes || nodes[other]->probe_address.empty()) continue;
      duty.targets.push_back({nodes[other]->rank, nodes[other]->probe_address});
    }
  }
  return duty;
}

}  // namespace ballast
