#include "protocol/header.h"

namespace ballast {

std::array<uint64_t, kHeaderWords> EncodeHeader(const StepHeader& h) {
  return {static_cast<uint64_t>(h.generation.value()),
          static_cast<uint64_t>(h.step.value()),
          static_cast<uint64_t>(h.ok),
          static_cast<uint64_t>(static_cast<int64_t>(h.failed_layer)),
          static_cast<uint64_t>(h.staged.value()),
          h.staged_digest.value(),
          static_cast<uint64_t>(h.committed.value()),
          h.split_hash,
          static_cast<uint64_t>(h.request.value()),
          static_cast<uint64_t>(h.request_kind)};
}

StepHeader DecodeHeader(const std::array<uint64_t, kHeaderWords>& words) {
  StepHeader h;
  h.generation = Generation(static_cast<int64_t>(words[0]));
  h.step = Step(static_cast<int64_t>(words[1]));
  h.ok = words[2] == 1;
  h.failed_layer = static_cast<int32_t>(static_cast<int64_t>(words[3]));
  h.staged = PlanVersion(static_cast<int64_t>(words[4]));
  h.staged_digest = PlanDigest(words[5]);
  h.committed = PlanVersion(static_cast<int64_t>(words[6]));
  h.split_hash = words[7];
  h.request = RequestId(static_cast<int64_t>(words[8]));
  h.request_kind = words[9] <= 3 ? static_cast<RequestKind>(words[9]) : RequestKind::kNone;
  return h;
}

}  // namespace ballast
