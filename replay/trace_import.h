// Recorded loads of other projects as .npy files: bytes of a 16-bit array
// [step][layer][microbatch][source][expert].
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace ballast {

// The text files of SmartMoE's artefact: by (iteration, rank) what table_iter<iteration>_rank<rank>.log
// holds, one line "<layer>:[[counts of each expert] of each microbatch]" per layer, layers counted from 0.
// InvalidArgument names file and line: not such a line, layers missing, a file of other sizes than the first,
// a count that is not an integer of 0..65535, or an iteration that lacks a rank.
absl::StatusOr<std::string> ImportSmartMoeTables(const std::map<std::pair<int, int>, std::string>& files);

// "table_iter<iteration>_rank<rank>.log" -> (iteration, rank); nothing for another name.
bool ParseSmartMoeName(const std::string& name, std::pair<int, int>& iteration_and_rank);

// Little-endian 16-bit values [step][source][layer][microbatch][expert] without a header, of that shape.
// InvalidArgument when the length does not match.
absl::StatusOr<std::string> ImportRawU16(const std::string& values, const std::vector<int64_t>& shape);

}  // namespace ballast
