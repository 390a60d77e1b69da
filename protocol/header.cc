#include "protocol/header.h"

#include "absl/strings/str_cat.h"

namespace ballast {
namespace {

// In the last word, beside the request's kind.
constexpr uint64_t kCheckpointBusyBit = uint64_t{1} << 8;
constexpr uint64_t kAttachedBit = uint64_t{1} << 9;

}  // namespace

std::array<uint64_t, kHeaderWords> EncodeHeader(const StepHeader& h) {
  return {static_cast<uint64_t>(h.generation.value()),
          static_cast<uint64_t>(h.step.value()),
          static_cast<uint64_t>(h.failure.cause) | static_cast<uint64_t>(h.failure.part) << 8,
          static_cast<uint64_t>(static_cast<int64_t>(h.failure.layer)),
          static_cast<uint64_t>(h.staged.value()),
          h.staged_digest.value(),
          static_cast<uint64_t>(h.committed.value()),
          h.split_hash,
          static_cast<uint64_t>(h.request.value()),
          static_cast<uint64_t>(h.request_kind) | (h.checkpoint_busy ? kCheckpointBusyBit : 0) |
              (h.attached ? kAttachedBit : 0)};
}

StepHeader DecodeHeader(const std::array<uint64_t, kHeaderWords>& words) {
  StepHeader h;
  h.generation = Generation(static_cast<int64_t>(words[0]));
  h.step = Step(static_cast<int64_t>(words[1]));
  const uint64_t cause = words[2] & 0xff;
  const uint64_t part = words[2] >> 8;
  // What is not known here is no success.
  h.failure.cause = cause <= 4 ? static_cast<FailureCause>(cause) : FailureCause::kCheck;
  h.failure.part = part <= 3 ? static_cast<ModelPart>(part) : ModelPart::kUnknown;
  h.failure.layer = static_cast<int32_t>(static_cast<int64_t>(words[3]));
  h.staged = PlanVersion(static_cast<int64_t>(words[4]));
  h.staged_digest = PlanDigest(words[5]);
  h.committed = PlanVersion(static_cast<int64_t>(words[6]));
  h.split_hash = words[7];
  h.request = RequestId(static_cast<int64_t>(words[8]));
  const uint64_t kind = words[9] & 0xff;
  h.request_kind = kind <= 3 ? static_cast<RequestKind>(kind) : RequestKind::kNone;
  h.checkpoint_busy = (words[9] & kCheckpointBusyBit) != 0;
  h.attached = (words[9] & kAttachedBit) != 0;
  return h;
}

Rank ReporterOf(std::span<const StepHeader> table) {
  for (size_t rank = 0; rank < table.size(); ++rank) {
    if (table[rank].attached) return Rank(static_cast<int32_t>(rank));
  }
  return Rank(0);
}

std::string PlaceOf(const StepFailure& failure) {
  switch (failure.part) {
    case ModelPart::kUnknown:
      return "";
    case ModelPart::kEmbedding:
      return "embedding";
    case ModelPart::kLayer:
      return absl::StrCat("layer ", failure.layer);
    case ModelPart::kHead:
      return "output head";
  }
  return "";
}

std::string ReasonOf(const StepFailure& failure) {
  switch (failure.cause) {
    case FailureCause::kNone:
      return "";
    case FailureCause::kActivation:
      return "an activation is not finite";
    case FailureCause::kLoss:
      return "a loss is not finite";
    case FailureCause::kGradient:
      return "a gradient is not finite";
    case FailureCause::kCheck:
      return "a check failed";
  }
  return "";
}

}  // namespace ballast
