// A backend whose router chooses once: the choices of the first pass are kept and repeated in every later
// one, whatever the probabilities say by then. That makes the loss a smooth function of the weights.
#pragma once

#include <cstdint>
#include <vector>

#include "tests/worker/backend/forwarding_backend.h"

namespace ballast {

// What one rank's router chose, call by call. Kept outside, because a cluster makes new backends for every
// pass.
struct RecordedChoices {
  bool recorded = false;
  std::vector<std::vector<int32_t>> calls;
};

// Doubles only.
class ReplayBackend final : public ForwardingBackend {
 public:
  ReplayBackend(Backend& to, RecordedChoices& choices) : ForwardingBackend(to), choices_(choices) {}
  ~ReplayBackend() override { choices_.recorded = true; }

  void RouterForward(Stream& stream, Matrix logits, int top_k, Matrix probabilities, int32_t* experts,
                     Matrix weights, double* log_sum_exp) override {
    to_.RouterForward(stream, logits, top_k, probabilities, experts, weights, log_sum_exp);
    const int64_t choices = logits.rows * top_k;
    if (!choices_.recorded) {
      choices_.calls.emplace_back(experts, experts + choices);
      return;
    }
    const std::vector<int32_t>& kept = choices_.calls.at(call_++);
    const double* p = static_cast<const double*>(probabilities.data);
    double* w = static_cast<double*>(weights.data);
    for (int64_t t = 0; t < logits.rows; ++t) {
      double sum = 0;
      for (int k = 0; k < top_k; ++k) sum += p[t * logits.columns + kept.at(t * top_k + k)];
      for (int k = 0; k < top_k; ++k) {
        experts[t * top_k + k] = kept[t * top_k + k];
        w[t * top_k + k] = p[t * logits.columns + kept[t * top_k + k]] / sum;
      }
    }
  }

 private:
  RecordedChoices& choices_;
  size_t call_ = 0;
};

}  // namespace ballast
