#include "coordinator/planner/token_sample.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "base/check.h"

namespace ballast {

bool TokenSample::Add(Step step, Rank rank, int tokens, std::vector<uint16_t> choices) {
  BALLAST_CHECK(tokens > 0 && choices.size() == static_cast<size_t>(layers_) * static_cast<size_t>(tokens) *
                                                    static_cast<size_t>(top_k_));
  if (tokens != tokens_) Reset();
  tokens_ = tokens;
  const auto place = std::lower_bound(
      sequences_.begin(), sequences_.end(), std::pair(step, rank),
      [](const std::shared_ptr<const SampledSequence>& other, const std::pair<Step, Rank>& wanted) {
        return std::pair(other->step, other->rank) < wanted;
      });
  if (place != sequences_.end() && (*place)->step == step && (*place)->rank == rank) return false;
  const bool full = sequences_.size() >= kSequencesMax;
  if (full && place == sequences_.begin()) return false;
  sequences_.insert(place,
                    std::make_shared<const SampledSequence>(SampledSequence{step, rank, std::move(choices)}));
  if (full) sequences_.pop_front();
  return true;
}

void TokenSample::ForgetBefore(Step step) {
  while (!sequences_.empty() && sequences_.front()->step < step) sequences_.pop_front();
}

CoactivationMatrix TokenSample::Together(int layer, Half half) const {
  CoactivationMatrix matrix;
  matrix.experts = experts_;
  const size_t n = static_cast<size_t>(experts_);
  matrix.pairs.assign(n * n, 0);
  for (size_t s = static_cast<size_t>(half); s < sequences_.size(); s += 2) {
    const uint16_t* chosen = ChoicesOf(*sequences_[s], layer);
    for (int t = 0; t < tokens_; ++t, chosen += top_k_) {
      for (int i = 0; i < top_k_; ++i) {
        for (int j = 0; j < top_k_; ++j) ++matrix.pairs[chosen[i] * n + chosen[j]];
      }
    }
  }
  return matrix;
}

std::vector<double> TokenSample::SharesOfPairs(const std::vector<std::vector<int>>& labels, Half half) const {
  std::vector<double> shares;
  const int64_t pairs = int64_t{layers_} * tokens_ * top_k_ * (top_k_ - 1) / 2;
  if (pairs == 0) return shares;
  for (size_t s = static_cast<size_t>(half); s < sequences_.size(); s += 2) {
    int64_t inside = 0;
    for (int l = 0; l < layers_; ++l) {
      const std::vector<int>& label = labels[static_cast<size_t>(l)];
      const uint16_t* chosen = ChoicesOf(*sequences_[s], l);
      for (int t = 0; t < tokens_; ++t, chosen += top_k_) {
        for (int i = 1; i < top_k_; ++i) {
          for (int j = 0; j < i; ++j) inside += label[chosen[i]] == label[chosen[j]];
        }
      }
    }
    shares.push_back(static_cast<double>(inside) / static_cast<double>(pairs));
  }
  return shares;
}

}  // namespace ballast
