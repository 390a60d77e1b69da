#include "worker/model/sampler.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/rng.h"

namespace ballast {
namespace {

// Purposes keep the two uses of the seed apart.
constexpr uint64_t kTrain = 0x747261696e;
constexpr uint64_t kHeldOut = 0x68656c64;

absl::Status CheckMixture(const DataConfig& data) {
  if (data.mixture.empty() || data.mixture.front().from_step != Step(1)) {
    return absl::InvalidArgumentError("data.mixture: the first phase must begin at step 1");
  }
  for (size_t phase = 0; phase < data.mixture.size(); ++phase) {
    const std::vector<double>& weights = data.mixture[phase].weights;
    double sum = 0;
    for (double weight : weights) sum += weight;
    if (weights.size() != data.sources.size() || !(sum > 0)) {
      return absl::InvalidArgumentError(absl::StrCat("data.mixture[", phase, "].weights: found ",
                                                     weights.size(), " with sum ", sum, ", allowed are ",
                                                     data.sources.size(), " with a sum above 0"));
    }
    if (phase > 0 && !(data.mixture[phase - 1].from_step < data.mixture[phase].from_step)) {
      return absl::InvalidArgumentError(
          absl::StrCat("data.mixture[", phase, "].from_step: found ", data.mixture[phase].from_step.value(),
                       ", allowed is more than ", data.mixture[phase - 1].from_step.value()));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Sampler> Sampler::Make(const DataConfig& data, uint64_t seed,
                                      std::vector<int64_t> source_tokens) {
  BALLAST_CHECK(source_tokens.size() == data.sources.size());
  absl::Status mixture = CheckMixture(data);
  if (!mixture.ok()) return mixture;
  Sampler sampler(data, seed, std::move(source_tokens));
  for (size_t i = 0; i < data.sources.size(); ++i) {
    const int64_t needed = int64_t{data.sequence_length} + 1;
    const int64_t train = sampler.train_tokens_[i];
    const int64_t held_out = sampler.source_tokens_[i] - train;
    if (train < needed || held_out < needed) {
      return absl::InvalidArgumentError(absl::StrCat(
          "data.sources[", i, "] (", data.sources[i].name, "): found ", train, " tokens to train on and ",
          held_out, " held out, allowed is at least ", needed, " each (data.sequence_length + 1)"));
    }
  }
  return sampler;
}

Sampler::Sampler(const DataConfig& data, uint64_t seed, std::vector<int64_t> source_tokens)
    : data_(data), seed_(seed), source_tokens_(std::move(source_tokens)) {
  for (int64_t tokens : source_tokens_) {
    train_tokens_.push_back(tokens -
                            static_cast<int64_t>(static_cast<double>(tokens) * data.held_out_fraction));
  }
}

Sample Sampler::Train(Step step, int64_t index) const {
  Rng rng(HashSeed({seed_, kTrain, static_cast<uint64_t>(step.value()), static_cast<uint64_t>(index)}));
  const std::vector<double>& weights = Weights(step);
  double sum = 0;
  for (double weight : weights) sum += weight;
  double at = rng.Uniform() * sum;
  // The last source with any weight takes what rounding leaves over.
  int source = 0;
  for (size_t i = 0; i < weights.size(); ++i) {
    if (weights[i] <= 0) continue;
    source = static_cast<int>(i);
    if (at < weights[i]) break;
    at -= weights[i];
  }
  const int64_t places = train_tokens_[source] - data_.sequence_length;
  return {source, static_cast<int64_t>(rng.Below(static_cast<uint64_t>(places)))};
}

Sample Sampler::HeldOut(int source, int64_t index) const {
  Rng rng(HashSeed({seed_, kHeldOut, static_cast<uint64_t>(source), static_cast<uint64_t>(index)}));
  const int64_t places = source_tokens_[source] - train_tokens_[source] - data_.sequence_length;
  return {source, train_tokens_[source] + static_cast<int64_t>(rng.Below(static_cast<uint64_t>(places)))};
}

const std::vector<double>& Sampler::Weights(Step step) const {
  const MixturePhase* phase = &data_.mixture.front();
  for (const MixturePhase& next : data_.mixture) {
    if (next.from_step <= step) phase = &next;
  }
  return phase->weights;
}

}  // namespace ballast
