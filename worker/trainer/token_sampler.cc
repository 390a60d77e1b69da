#include "worker/trainer/token_sampler.h"

#include <algorithm>

namespace ballast {

TokenSampler::TokenSampler(const TokenSampling& sampling, Rank self, const MicrobatchPlan& batch,
                           int64_t sequence_length)
    : sampling_(sampling), self_(self), batch_(batch), length_(sequence_length) {}

std::optional<int64_t> TokenSampler::SequenceOf(Step step) const {
  const std::optional<int64_t> turn =
      SampledTurn(sampling_, step, self_, static_cast<int>(batch_.runs.size()));
  const int64_t own = batch_.sequences[self_.index()];
  if (!turn.has_value() || own == 0) return std::nullopt;
  // Another one at each turn: places in a batch may differ in where their data come from.
  return batch_.runs[self_.index()].front().first + *turn % own;
}

TokenTap* TokenSampler::TapOf(Step step, const SequenceRun& run) {
  const std::optional<int64_t> sequence = SequenceOf(step);
  if (!sequence.has_value() || *sequence < run.first || *sequence >= run.first + run.count) return nullptr;
  step_ = step;
  tap_.first_row = (*sequence - run.first) * length_;
  tap_.rows = std::min<int64_t>(sampling_.tokens, length_);
  tap_.chosen.clear();
  return &tap_;
}

std::optional<TokenReport> TokenSampler::Take(Step step) {
  if (step_ != step || tap_.chosen.empty()) return std::nullopt;
  TokenReport report;
  report.rank = self_;
  report.step = step;
  report.tokens = static_cast<int>(tap_.rows);
  report.choices.assign(tap_.chosen.begin(), tap_.chosen.end());
  tap_.chosen.clear();
  return report;
}

}  // namespace ballast
