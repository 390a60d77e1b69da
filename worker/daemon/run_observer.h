// RunObserver: what else than the coordinator wants to hear of a generation's ranks, as /metrics.
#pragma once

#include <cstdint>
#include <vector>

#include "protocol/telemetry.h"
#include "worker/session.h"

namespace ballast {

// Called by rank threads and others, several at once; must not block.
class RunObserver {
 public:
  virtual ~RunObserver() = default;
  // `layer_assignments` are the rows that the rank computed, by layer.
  virtual void OnRankStep(const RunId& run, Rank rank, const RankStep& step,
                          const std::vector<int64_t>& layer_assignments) = 0;
  // Results of link probes that this daemon began; `members` are those of the run.
  virtual void OnProbes(const RunId& run, const std::vector<LinkProbe>& links,
                        const std::vector<Member>& members) = 0;
  // No rank of the run is left here.
  virtual void OnRunEnd(const RunId& run) = 0;
};

}  // namespace ballast
