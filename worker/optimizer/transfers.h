// Transfer plans: which blocks travel from whom to whom after a step. Pure: functions of the plans alone, the
// same on every rank, so that what one rank sends is what the other expects.
//
//   reduce(s):  gradients from the ranks that hold a block in plan(s) to its home in plan(s)
//   refresh(s): weights from the home in plan(s) to the ranks that hold the block in plan(s+1);
//               optimizer state from the home in plan(s) to the one in plan(s+1), where they differ
// A rank holds all dense blocks, and the blocks of the experts in its slots.
#pragma once

#include <cstdint>
#include <vector>

#include "plan/layout.h"
#include "plan/plan.h"

namespace ballast {

// [block] -> the ranks that hold compute weights of it, rising.
class Holders {
 public:
  Holders(const ParameterLayout& layout, const PlanBody& plan);
  const std::vector<Rank>& of(BlockId block) const;
  bool Holds(Rank rank, BlockId block) const;

 private:
  const ParameterLayout& layout_;
  std::vector<Rank> all_;
  std::vector<std::vector<std::vector<Rank>>> hosts_;  // [layer][expert]
};

// Blocks in one message, rising; packed without gaps in this order.
struct BlockMessage {
  Rank peer;
  std::vector<BlockId> blocks;
  int64_t elements = 0;
};

// Where one part of a block's gradient lies at its home.
struct Contribution {
  bool own = false;    // in this rank's own gradient buffer
  int64_t offset = 0;  // else: elements from the begin of the receive window
};

// What one rank does in reduce. Messages by rising peer; windows hold them one after the other.
struct ReduceTransfers {
  std::vector<BlockId> owned;  // homes here, rising
  std::vector<BlockMessage> sends;
  std::vector<BlockMessage> recvs;
  std::vector<std::vector<Contribution>>
      contributions;  // [owned], in the order of ranks: the order of summation
  int64_t send_elements = 0;
  int64_t recv_elements = 0;
};
ReduceTransfers MakeReduceTransfers(const ParameterLayout& layout, const PlanBody& plan, Rank self);

// In one message the weights come first, then the states; a state is three master elements per element.
struct RefreshMessage {
  Rank peer;
  std::vector<BlockId> weights;
  std::vector<BlockId> states;
  int64_t weight_elements = 0;
  int64_t state_elements = 0;
};

// What one rank does in refresh.
struct RefreshTransfers {
  std::vector<RefreshMessage> sends;
  std::vector<RefreshMessage> recvs;
  std::vector<BlockId> local_weights;  // home here before, held here after
  std::vector<BlockId> leaving;        // homes that move away, rising
  std::vector<BlockId> arriving;       // homes that come here, rising
};
RefreshTransfers MakeRefreshTransfers(const ParameterLayout& layout, const PlanBody& from, const PlanBody& to,
                                      Rank self);

}  // namespace ballast
