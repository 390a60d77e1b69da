#include "replay/load_trace.h"

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "plan/balance.h"

namespace ballast {
namespace {

constexpr int64_t kDimensionMax = 1 << 24;

}  // namespace

absl::StatusOr<LoadTrace> LoadTrace::FromArray(const NpyArray& array) {
  const std::vector<int64_t>& shape = array.shape();
  if (shape.size() != 4 && shape.size() != 5) {
    return absl::InvalidArgumentError(
        absl::StrCat("loads: found ", shape.size(),
                     " dimensions, allowed is [step][layer][microbatch][expert] or "
                     "[step][layer][microbatch][source][expert]"));
  }
  for (size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] < 1 || shape[i] > kDimensionMax) {
      return absl::InvalidArgumentError(
          absl::StrCat("loads: dimension ", i, ": found ", shape[i], ", allowed is 1..", kDimensionMax));
    }
  }
  const int64_t rows = shape[0] * shape[1] * shape[2];
  const int64_t sources = shape.size() == 5 ? shape[3] : 1;
  const int64_t experts = shape.back();
  std::vector<int64_t> tokens(static_cast<size_t>(rows * experts), 0);
  int64_t index = 0;
  for (int64_t row = 0; row < rows; ++row) {
    int64_t sum = 0;
    for (int64_t i = 0; i < sources * experts; ++i, ++index) {
      BALLAST_ASSIGN_OR_RETURN(const int64_t count, array.At(index));
      // All microbatches of a layer together must fit too.
      if (count < 0 || count > kTokensMax / shape[2] - sum) {
        return absl::InvalidArgumentError(
            absl::StrCat("loads: step ", row / shape[2] / shape[1], ", layer ", row / shape[2] % shape[1],
                         ", microbatch ", row % shape[2], ", expert ", i % experts, ": found ", count,
                         ", allowed is 0 or more and at most ", kTokensMax / shape[2], " in a microbatch"));
      }
      sum += count;
      tokens[static_cast<size_t>(row * experts + i % experts)] += count;
    }
  }
  return LoadTrace(static_cast<int>(shape[0]), static_cast<int>(shape[1]), static_cast<int>(shape[2]),
                   static_cast<int>(experts), std::move(tokens));
}

LoadTrace::LoadTrace(int steps, int layers, int microbatches, int experts, std::vector<int64_t> tokens)
    : steps_(steps),
      layers_(layers),
      microbatches_(microbatches),
      experts_(experts),
      tokens_(std::move(tokens)) {
  BALLAST_CHECK(static_cast<int64_t>(tokens_.size()) == int64_t{steps} * layers * microbatches * experts)
      << tokens_.size() << " values";
}

const int64_t* LoadTrace::Row(int step, int layer, int microbatch) const {
  BALLAST_CHECK(step >= 0 && step < steps_ && layer >= 0 && layer < layers_ && microbatch >= 0 &&
                microbatch < microbatches_)
      << "step " << step << ", layer " << layer << ", microbatch " << microbatch;
  return tokens_.data() + ((int64_t{step} * layers_ + layer) * microbatches_ + microbatch) * experts_;
}

std::vector<int64_t> LoadTrace::Microbatch(int step, int layer, int microbatch) const {
  const int64_t* row = Row(step, layer, microbatch);
  return std::vector<int64_t>(row, row + experts_);
}

std::vector<int64_t> LoadTrace::Sample(int step, int layer) const {
  std::vector<int64_t> sum(static_cast<size_t>(experts_), 0);
  for (int m = 0; m < microbatches_; ++m) {
    const int64_t* row = Row(step, layer, m);
    for (int e = 0; e < experts_; ++e) sum[e] += row[e];
  }
  return sum;
}

std::vector<int64_t> PastLoads::Sample(int layer, int age) const {
  BALLAST_CHECK(age >= 1 && age <= step_) << "a plan for step " << step_ << " asked for age " << age;
  return trace_.Sample(step_ - age, layer);
}

}  // namespace ballast
