// What a job's sampled tokens chose, as an array that place and replay take.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ctl/connection.h"

namespace ballast {

struct SavedTokens {
  int layers = 0;
  int top_k = 0;
  int length = 0;  // tokens of a sequence: for --sequence-length
  // By step and rank: [layer][token][k].
  std::map<std::pair<int64_t, int64_t>, std::vector<uint16_t>> sequences;
};

// All that the coordinator keeps. InvalidArgument when its answers do not fit each other.
absl::StatusOr<SavedTokens> FetchTokens(const ControlClient& client, const std::string& job);

// An array [layer][token][k] of 16-bit experts, the tokens of one sequence after those of the other.
// FailedPrecondition without a sequence.
absl::StatusOr<std::string> TokensArray(const SavedTokens& tokens);

}  // namespace ballast
