// Which rank writes which tensors of a checkpoint, and in which file. Pure: every rank computes the same.
//
// The optimizer part after update(t): master and both moments of every block, by its home in plan(t). The
// model part after refresh(t): whole parameters from compute weights, each by the lowest rank that holds it
// in plan(t+1) (protocol section 5).
#pragma once

#include <string>
#include <vector>

#include "base/ids.h"
#include "plan/layout.h"
#include "plan/plan.h"

namespace ballast {

struct CheckpointPart {
  std::string optimizer_file;   // empty = no block of the optimizer is here
  std::vector<BlockId> blocks;  // rising
  std::string model_file;       // empty = no parameter is written here
  std::vector<int> parameters;  // indices into the layout, rising
};

// [rank]
std::vector<CheckpointPart> DivideCheckpoint(const ParameterLayout& layout, const PlanBody& plan,
                                             const PlanBody& next);

// Names of the three tensors of a block: the global parameter and the block's first element, so that another
// cut into blocks finds its ranges: "model.norm.weight@0.master", ".moment1", ".moment2".
inline constexpr const char* kStateParts[] = {"master", "moment1", "moment2"};
std::string StateName(const Parameter& parameter, int64_t offset, int part);

// The safetensors index of the model part: JSON {"metadata": {"total_size"}, "weight_map": {name: file}}.
std::string ModelIndexText(const ParameterLayout& layout, const std::vector<CheckpointPart>& parts,
                           size_t element_bytes);

}  // namespace ballast
