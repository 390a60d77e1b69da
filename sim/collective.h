// Collective: what the ranks of one generation exchange. Tables of headers, and the blocks whose home moves.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "protocol/header.h"
#include "protocol/messages.h"

namespace ballast::sim {

// Whom a rank exchanges with. On a store that was set back a coordinator may give one number to two
// generations; their processes never meet.
using RunKey = std::pair<Generation, std::vector<Incarnation>>;
inline RunKey KeyOf(const Assign& assign) {
  RunKey key{assign.stamp.generation, {}};
  for (const Member& member : assign.members) key.second.push_back(member.incarnation);
  return key;
}

class Collective {
 public:
  // `complete` is called when the last row of a step's table is there.
  Collective(int ranks, std::function<void(Step)> complete) : ranks_(ranks), complete_(std::move(complete)) {}

  void Put(Rank rank, const StepHeader& header);
  bool Complete(Step step) const { return step <= last_complete_; }
  // Of a complete step, one of the last 20.
  const std::vector<StepHeader>& Table(Step step) const { return tables_.at(step); }

  // The state of a block leaves its home after update(step), and arrives before update(step + 1). A state is
  // the last update that it has had.
  void Send(Step step, BlockId block, Step state) { moving_[{step, block}] = state; }
  std::optional<Step> Take(Step step, BlockId block);

  // The rank is through with all its steps.
  void Leave(Rank rank) { left_.insert(rank); }
  bool AllLeave() const { return static_cast<int>(left_.size()) == ranks_; }

 private:
  const int ranks_;
  const std::function<void(Step)> complete_;
  Step last_complete_;
  std::map<Step, std::vector<StepHeader>> tables_;
  std::map<Step, int> rows_;
  std::map<std::pair<Step, BlockId>, Step> moving_;
  std::set<Rank> left_;
};

}  // namespace ballast::sim
