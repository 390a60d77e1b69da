#include "sim/collective.h"

#include <algorithm>

namespace ballast::sim {

void Collective::Put(Rank rank, const StepHeader& header) {
  std::vector<StepHeader>& table = tables_[header.step];
  table.resize(static_cast<size_t>(ranks_));
  table[rank.index()] = header;
  if (++rows_[header.step] < ranks_) return;
  rows_.erase(header.step);
  tables_.erase(header.step.Plus(-20));  // no rank is that far behind
  last_complete_ = std::max(last_complete_, header.step);
  complete_(header.step);
}

std::optional<Step> Collective::Take(Step step, BlockId block) {
  auto it = moving_.find({step, block});
  if (it == moving_.end()) return std::nullopt;
  const Step state = it->second;
  moving_.erase(it);
  return state;
}

}  // namespace ballast::sim
