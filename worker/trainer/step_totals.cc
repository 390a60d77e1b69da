#include "worker/trainer/step_totals.h"

#include "base/check.h"
#include "base/rng.h"

namespace ballast {
namespace {

void AddTokens(const std::vector<std::vector<int64_t>>& from, std::vector<std::vector<int64_t>>& to) {
  if (to.empty()) {
    to = from;
    return;
  }
  BALLAST_CHECK(from.size() == to.size()) << "microbatches of different models";
  for (size_t i = 0; i < from.size(); ++i) {
    for (size_t j = 0; j < from[i].size(); ++j) to[i][j] += from[i][j];
  }
}

}  // namespace

void StepTotals::Add(const MicrobatchResult& result) {
  BALLAST_CHECK(result.load_balance.size() == result.cross_entropy.size() &&
                result.z_loss.size() == result.cross_entropy.size())
      << "one value of each loss per sequence";
  for (size_t i = 0; i < result.cross_entropy.size(); ++i) {
    losses.push_back({result.cross_entropy[i], result.load_balance[i], result.z_loss[i]});
  }
  AddTokens(result.expert_tokens, expert_tokens);
  AddTokens(result.rank_tokens, rank_tokens);
  split_hash = HashSeed({split_hash, result.split_hash});
  if (failure.cause == FailureCause::kNone) failure = result.failure;
}

}  // namespace ballast
