// HomeStore: the blocks that this rank owns: master weights, Adam moments, reduced gradients.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/ids.h"
#include "plan/layout.h"
#include "worker/backend/backend.h"

namespace ballast {

// Memory of one owned block of n elements.
struct HomeBlock {
  int64_t elements = 0;
  Buffer state;  // master, first moment, second moment: three runs of n elements of the master type, the form
                 // on the wire
  Buffer gradient;  // the reduced gradient: n elements of the master type
  Buffer
      updated;  // compute weights after the update, on their way to the slots: n elements of the compute type
};

// Used by the rank's thread alone.
class HomeStore {
 public:
  HomeStore(const ParameterLayout& layout, Backend& backend) : layout_(layout), backend_(backend) {}

  // Allocates, zeroed. The block must not be owned. ResourceExhausted.
  absl::Status Add(BlockId block);
  // The block has moved away; its state is kept until Forget(step >= until).
  void Retire(BlockId block, Step until);
  // Frees the states of blocks that were retired until `step` or earlier.
  void Forget(Step step);

  bool Owns(BlockId block) const { return blocks_.count(block) > 0; }
  HomeBlock& at(BlockId block);
  void* Master(BlockId block) { return State(block, 0); }
  void* Moment1(BlockId block) { return State(block, 1); }
  void* Moment2(BlockId block) { return State(block, 2); }
  size_t StateBytes(BlockId block) const;
  // Writes the block's master weights, as compute weights, to HomeBlock::updated.
  void CastMaster(Stream& stream, BlockId block);

  struct Retired {
    BlockId block;
    Buffer state;
    Step until;
  };
  const std::vector<Retired>& retired() const { return retired_; }  // oldest first
  std::vector<BlockId> owned() const;                               // rising

 private:
  void* State(BlockId block, int which);

  const ParameterLayout& layout_;
  Backend& backend_;
  std::map<BlockId, HomeBlock> blocks_;
  std::vector<Retired> retired_;
};

}  // namespace ballast
