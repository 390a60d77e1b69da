#include "protocol/token_sampling.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/math.h"

namespace ballast {
namespace {

template <class Found>
absl::Status Wrong(const std::string& field, const Found& found, const std::string& allowed) {
  return absl::InvalidArgumentError(absl::StrCat(field, ": found ", found, ", allowed ", allowed));
}

}  // namespace

TokenSampling SamplingFor(int layers, int top_k, int64_t sequence_length, int ranks) {
  BALLAST_CHECK(layers > 0 && top_k > 0 && sequence_length > 0 && ranks > 0);
  const int64_t of_token = int64_t{layers} * top_k;
  const int64_t fit = std::min(kSampledChoicesMax / of_token, kLayerChoicesMax / top_k);
  TokenSampling sampling;
  sampling.tokens =
      static_cast<int>(std::max<int64_t>(1, std::min({fit, sequence_length, int64_t{kSampledTokensMax}})));
  const int64_t bytes = sampling.tokens * of_token * kBytesOfChoice;
  sampling.every = std::max<int64_t>(1, CeilDiv(bytes, kSampleBytesPerStep));
  sampling.sequences = static_cast<int>(
      std::clamp<int64_t>(kSampleBytesPerStep / bytes, 1, std::min(ranks, kSampledSequencesMax)));
  return sampling;
}

absl::Status CheckSampling(const TokenSampling& sampling) {
  if (sampling == TokenSampling()) return absl::OkStatus();
  if (sampling.every < 1) return Wrong("sampling.every", sampling.every, "at least 1, or all 0");
  if (sampling.sequences < 1 || sampling.sequences > kSampledSequencesMax) {
    return Wrong("sampling.sequences", sampling.sequences, absl::StrCat("1..", kSampledSequencesMax));
  }
  if (sampling.tokens < 1 || sampling.tokens > kSampledTokensMax) {
    return Wrong("sampling.tokens", sampling.tokens, absl::StrCat("1..", kSampledTokensMax));
  }
  return absl::OkStatus();
}

std::optional<int64_t> SampledTurn(const TokenSampling& sampling, Step step, Rank rank, int ranks) {
  if (!sampling.on() || step.value() % sampling.every != 0) return std::nullopt;
  // Turns are dealt to ranks in a row, `each` of them in every sampled step.
  const int64_t each = std::min(sampling.sequences, ranks);
  const int64_t first = (step.value() / sampling.every - 1) * each;
  const int64_t ahead = (rank.value() - first % ranks + ranks) % ranks;
  if (ahead >= each) return std::nullopt;
  return (first + ahead) / ranks;
}

absl::Status CheckTokenReport(const TokenReport& report, const TokenSampling& sampling, int ranks, int layers,
                              int top_k, int experts) {
  if (report.rank.value() < 0 || report.rank.value() >= ranks) {
    return Wrong("rank", report.rank.value(), absl::StrCat("0..", ranks - 1));
  }
  if (report.step.value() < 1 || !SampledTurn(sampling, report.step, report.rank, ranks)) {
    return Wrong("step", report.step.value(), "one in which this rank's tokens are sampled");
  }
  if (report.tokens != sampling.tokens) return Wrong("tokens", report.tokens, absl::StrCat(sampling.tokens));
  const int64_t choices = int64_t{layers} * report.tokens * top_k;
  if (static_cast<int64_t>(report.choices.size()) != choices) {
    return Wrong("choices", report.choices.size(),
                 absl::StrCat(choices, " (", layers, " layers, ", report.tokens, " tokens, ", top_k, ")"));
  }
  for (size_t first = 0; first < report.choices.size(); first += static_cast<size_t>(top_k)) {
    const auto begin = report.choices.begin() + static_cast<ptrdiff_t>(first);
    for (int i = 0; i < top_k; ++i) {
      if (begin[i] >= experts) {
        return Wrong(absl::StrCat("choices[", first + static_cast<size_t>(i), "]"), begin[i],
                     absl::StrCat("0..", experts - 1));
      }
      if (std::find(begin, begin + i, begin[i]) != begin + i) {
        return Wrong(absl::StrCat("choices[", first + static_cast<size_t>(i), "]"),
                     absl::StrCat(begin[i], " twice in a token"), "once");
      }
    }
  }
  return absl::OkStatus();
}

}  // namespace ballast
