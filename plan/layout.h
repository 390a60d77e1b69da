// ParameterLayout: all parameters of a model in global order, cut into the fixed blocks that homes own.
//
// The layout is a function of the model and of block_elements alone, never of the number of ranks, so that
// any rank may own any block and a change of world size moves no boundary.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/ids.h"
#include "plan/job_config.h"

namespace ballast {

// One tensor, row-major, [out, in] for matrices; the name is the one of the Mixtral-8x7B-v0.1 files.
struct Parameter {
  std::string name;
  std::vector<int64_t> shape;
  int64_t elements = 0;
  std::optional<LayerId> layer;    // of layer parameters (dense ones too)
  std::optional<ExpertId> expert;  // of expert parameters; they have a layer as well
  int first_block = 0;             // its blocks are [first_block, first_block + blocks)
  int blocks = 0;
  bool decayed = false;  // weight decay applies (matrices)
};

// `elements` consecutive elements of one parameter, from `offset` on. Never spans two parameters.
struct Block {
  int parameter = 0;  // index into parameters()
  int64_t offset = 0;
  int64_t elements = 0;
};

// Immutable; may be read from any thread.
class ParameterLayout {
 public:
  // InvalidArgument when a size is not positive or the number of blocks does not fit.
  static absl::StatusOr<ParameterLayout> Make(const ModelConfig& model, int64_t block_elements);

  const std::vector<Parameter>& parameters() const { return parameters_; }
  const std::vector<Block>& blocks() const { return blocks_; }
  const Block& block(BlockId id) const { return blocks_[id.index()]; }
  const Parameter& parameter_of(BlockId id) const { return parameters_[blocks_[id.index()].parameter]; }
  int layers() const { return layers_; }
  int experts() const { return experts_; }

  // Index into parameters() of w1, and then w2, w3: an expert's three parameters follow each other
  // (w1 and w3 are [intermediate, hidden], w2 is [hidden, intermediate]).
  int ExpertParameter(LayerId layer, ExpertId expert) const;
  // The expert's blocks are [first, last).
  struct BlockRange {
    int first = 0;
    int last = 0;
  };
  BlockRange ExpertBlocks(LayerId layer, ExpertId expert) const;
  int64_t expert_elements() const { return expert_elements_; }  // of one expert: w1 + w2 + w3
  int64_t total_elements() const { return total_elements_; }

 private:
  std::vector<Parameter> parameters_;
  std::vector<Block> blocks_;
  std::vector<int> expert_parameter_;  // [layer * experts + expert]
  int layers_ = 0;
  int experts_ = 0;
  int64_t expert_elements_ = 0;
  int64_t total_elements_ = 0;
};

}  // namespace ballast
