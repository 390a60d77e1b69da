#include "worker/model/activation_memory.h"

#include <algorithm>
#include <cstdint>

#include "base/math.h"
#include "worker/backend/backend.h"

namespace ballast {
namespace {

constexpr int64_t kDouble = sizeof(double);
constexpr int64_t kIndex = sizeof(int64_t);
constexpr int64_t kId = sizeof(int32_t);

struct Sizes {
  int64_t tokens, sequences;
  int64_t sent;      // assignments of this rank
  int64_t computed;  // assignments of its experts
  int64_t element, router;
  int64_t hidden, queries, keys;
};

Sizes SizesOf(const JobConfig& job, const ActivationShape& shape) {
  Sizes s;
  s.tokens = MicrobatchTokens(job, shape.ranks);
  s.sequences = s.tokens / job.data.sequence_length;
  s.sent = s.tokens * job.model.moe.top_k;
  s.computed = static_cast<int64_t>(static_cast<double>(s.sent) *
                                    std::min(kRowsAllowance, static_cast<double>(shape.ranks)));
  s.element = static_cast<int64_t>(DTypeBytes(job.training.compute_dtype));
  s.router = static_cast<int64_t>(DTypeBytes(RouterDType(job.training.compute_dtype)));
  s.hidden = job.model.hidden_size;
  s.queries = int64_t{job.model.attention_heads} * job.model.head_size;
  s.keys = int64_t{job.model.key_value_heads} * job.model.head_size;
  return s;
}

// Norm, queries, keys, values, what attention keeps, its output, and the residual stream behind it.
int64_t OfAttention(const Sizes& s, size_t saved) {
  return s.tokens * kDouble + s.element * s.tokens * (2 * s.hidden + 2 * s.queries + 2 * s.keys) +
         static_cast<int64_t>(saved);
}

// Norm, router, the two permutations, the experts' input and inner activations, and what came back.
int64_t OfMoe(const Sizes& s, const MoeConfig& moe) {
  const int64_t router = s.router * (3 * s.tokens * moe.experts + s.sent) + s.sent * kId +
                         (s.tokens + 2 * s.sequences) * kDouble;
  const int64_t rows =
      s.element * (s.computed * (s.hidden + int64_t{3} * moe.intermediate_size) + s.sent * s.hidden);
  return s.tokens * kDouble + s.element * s.tokens * s.hidden + router + 2 * s.sent * kIndex + rows;
}

// Token ids, the end of the residual stream, and the language head.
int64_t OfEnds(const Sizes& s, int64_t vocabulary) {
  return s.tokens * (2 * kId + 2 * kDouble) + s.element * s.tokens * (2 * s.hidden + vocabulary);
}

int64_t Scratch(const Sizes& s, const MoeConfig& moe, int ranks) {
  const int64_t attention = s.element * s.tokens * (s.hidden + 2 * s.queries + 2 * s.keys);
  const int64_t rows =
      s.element * (s.sent * s.hidden + s.computed * (2 * s.hidden + int64_t{3} * moe.intermediate_size));
  const int64_t router = s.router * s.sent + s.element * s.tokens * moe.experts;
  const int64_t counts = int64_t{ranks + 1} * moe.experts * kIndex;
  return attention + rows + router + counts + 2 * s.element * s.tokens * s.hidden;
}

}  // namespace

int64_t MicrobatchTokens(const JobConfig& job, int ranks) {
  const TrainingConfig& training = job.training;
  const int64_t sequences = std::max<int64_t>(training.global_batch_sequences, training.evaluation_sequences);
  return std::min<int64_t>(training.microbatch_sequences, CeilDiv(sequences, ranks)) *
         job.data.sequence_length;
}

ActivationUse ExpectedActivations(const JobConfig& job, const ActivationShape& shape) {
  const Sizes s = SizesOf(job, shape);
  const Recompute recompute = job.training.recompute;
  const int64_t layers = job.model.layers;
  const int64_t attentions = recompute == Recompute::kFull ? 1 : layers;
  const int64_t moes = recompute == Recompute::kNone ? layers : 1;
  ActivationUse use;
  use.activations = static_cast<size_t>(
      layers * s.element * s.tokens * s.hidden + attentions * OfAttention(s, shape.attention_saved_bytes) +
      moes * OfMoe(s, job.model.moe) + OfEnds(s, job.model.vocabulary_size));
  use.scratch = static_cast<size_t>(Scratch(s, job.model.moe, shape.ranks));
  // A buffer out and one in per stage, a quarter more than asked for, as their owner has it; between the
  // first and the last stage a leader has the rows of its node.
  const int64_t wire = s.computed * s.hidden * s.element * 5 / 4;
  use.exchange = static_cast<size_t>(shape.two_level ? 6 * shape.node_ranks * wire : 2 * wire);
  return use;
}

}  // namespace ballast
