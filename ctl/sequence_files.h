// Samples of tokens, and files of whole sequences: what their tokens chose, and which rank gets which.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/planner/layer/layer_task.h"
#include "replay/sequences.h"

namespace ballast {

// What `place` and `replay` are asked about sequences.
struct SequenceArguments {
  int length = 0;   // tokens of a sequence; 0: tokens stand alone
  std::string out;  // .json; empty = none
};

// InvalidArgument when there is a sample of tokens, `path`, that none of `strategies` looks at. One that is
// not registered is left to who runs it.
absl::Status CheckSampleIsUsed(const std::string& path, const std::vector<std::string>& strategies);

// The sample at `path`: integers [layer][token][k], or [token][k] for all layers, tokens in the order of
// their sequences. Errors name the path.
absl::StatusOr<SequenceSample> ReadSequences(const std::string& path, int experts, int length);

// Writes {"sequence_length", "sequences", "ranks": [[sequences of rank 0], ...], "off_node", "off_rank"}, the
// last two with shares of assignments: "contiguous" (no sequence chosen, no expert moved), "in_order" (none
// chosen) and "chosen". `tables` by layer.
absl::Status WriteSequences(const SequenceArguments& arguments, const SequenceSample& sample,
                            const SequenceChoice& choice, const std::vector<SlotTable>& tables,
                            int ranks_per_node);

}  // namespace ballast
