// StepHeader: the small row that every rank contributes to every step. All ranks see the same table of N rows.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "base/ids.h"

namespace ballast {

// Something all ranks must do after the same step.
enum class RequestKind : uint8_t { kNone = 0, kStop = 1, kCheckpoint = 2, kDrain = 3 };

// One rank's row for step s; an immutable copy taken when it is enqueued, that is when all reduced gradients of s are in
// place at that rank.
struct StepHeader {
  Generation generation;
  Step step;
  bool ok = true;            // false: non-finite loss or gradient, or a failed check
  int32_t failed_layer = -1; // with !ok: the layer where it was seen, -1 = none in particular
  PlanVersion staged;        // highest plan this rank has promised to run; 0 = none
  PlanDigest staged_digest;
  PlanVersion committed;     // highest Commit received; 0 = none
  uint64_t split_hash = 0;   // of all splits of the step's microbatches and layers
  RequestId request;         // newest received; 0 = none
  RequestKind request_kind = RequestKind::kNone;
  friend bool operator==(const StepHeader&, const StepHeader&) = default;
};

// Fixed-size wire form (it rides in the gradient-norm exchange): ten little-endian 64-bit words.
inline constexpr size_t kHeaderWords = 10;
std::array<uint64_t, kHeaderWords> EncodeHeader(const StepHeader& header);
StepHeader DecodeHeader(const std::array<uint64_t, kHeaderWords>& words);

}  // namespace ballast
