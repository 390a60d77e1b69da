// StepHeader: the small row that every rank contributes to every step. All ranks see the same table of N
// rows.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>

#include "base/ids.h"

namespace ballast {

// Something all ranks must do after the same step.
enum class RequestKind : uint8_t { kNone = 0, kStop = 1, kCheckpoint = 2, kDrain = 3 };

// What a rank found wrong in a step, and where. The order of causes and parts is that in which a step meets
// them.
enum class FailureCause : uint8_t { kNone = 0, kActivation = 1, kLoss = 2, kGradient = 3, kCheck = 4 };
enum class ModelPart : uint8_t { kUnknown = 0, kEmbedding = 1, kLayer = 2, kHead = 3 };
struct StepFailure {
  FailureCause cause = FailureCause::kNone;
  ModelPart part = ModelPart::kUnknown;
  int32_t layer = -1;  // of part kLayer, else -1
  friend bool operator==(const StepFailure&, const StepFailure&) = default;
};
// "layer 5", "embedding", "output head"; empty for kUnknown.
std::string PlaceOf(const StepFailure& failure);
// "an activation is not finite" and the like; empty for kNone.
std::string ReasonOf(const StepFailure& failure);

// One rank's row for step s; an immutable copy taken when it is enqueued, that is when all reduced gradients
// of s are in place at that rank.
struct StepHeader {
  Generation generation;
  Step step;
  StepFailure failure;  // the first that this rank met; no rank applies the step if any has one
  PlanVersion staged;   // highest plan this rank has promised to run; 0 = none
  PlanDigest staged_digest;
  PlanVersion committed;    // highest Commit received; 0 = none
  uint64_t split_hash = 0;  // of all splits of the step's microbatches and layers
  RequestId request;        // newest received; 0 = none
  RequestKind request_kind = RequestKind::kNone;
  // This rank's last checkpoint is still being written: no rank takes one after this step.
  bool checkpoint_busy = false;
  bool attached = false;  // this rank's daemon has an open stream to the coordinator
  bool ok() const { return failure.cause == FailureCause::kNone; }
  friend bool operator==(const StepHeader&, const StepHeader&) = default;
};

// Fixed-size wire form (it rides in the gradient-norm exchange): ten little-endian 64-bit words.
inline constexpr size_t kHeaderWords = 10;
std::array<uint64_t, kHeaderWords> EncodeHeader(const StepHeader& header);
StepHeader DecodeHeader(const std::array<uint64_t, kHeaderWords>& words);

// The rank that reports the step of this table (rows in rank order): the lowest whose daemon is attached;
// rank 0 when none is, whose daemon keeps the reports for later. A function of the table, so it is one rank.
Rank ReporterOf(std::span<const StepHeader> table);

}  // namespace ballast
