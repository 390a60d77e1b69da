// Router: softmax over the experts, the top k of it renormalised, as in Mixtral (Jiang et al., arXiv
// 2401.04088).
#include <algorithm>
#include <cmath>

#include "worker/backend/cpu/kernels.h"

namespace ballast::cpu {
namespace {

// The most probable expert that is not among the first `chosen` of `experts`; the lowest one among equals.
// NaN never wins, and there is always an answer, so that a router gone wrong still routes in bounds.
template <class T>
int32_t BestOfRest(const T* probabilities, int64_t columns, const int32_t* experts, int chosen) {
  int32_t best = -1;
  for (int32_t e = 0; e < columns; ++e) {
    if (std::find(experts, experts + chosen, e) != experts + chosen) continue;
    if (best < 0 || probabilities[e] > probabilities[best]) best = e;
  }
  return best;
}

}  // namespace

template <class T>
void RouterForward(Rows<const T> logits, int top_k, Rows<T> probabilities, int32_t* experts, Rows<T> weights,
                   double* log_sum_exp) {
  for (int64_t i = 0; i < logits.rows; ++i) {
    const T* row = logits[i];
    T* p = probabilities[i];
    const double highest = *std::max_element(row, row + logits.columns);
    double sum = 0;
    for (int64_t e = 0; e < logits.columns; ++e) sum += std::exp(row[e] - highest);
    log_sum_exp[i] = std::log(sum) + highest;
    for (int64_t e = 0; e < logits.columns; ++e) p[e] = static_cast<T>(std::exp(row[e] - highest) / sum);

    int32_t* chosen = experts + i * top_k;
    T* weight = weights[i];
    double kept = 0;
    for (int k = 0; k < top_k; ++k) {
      chosen[k] = BestOfRest(p, logits.columns, chosen, k);
      kept += p[chosen[k]];
    }
    for (int k = 0; k < top_k; ++k) weight[k] = static_cast<T>(p[chosen[k]] / kept);
  }
}

// With s the sum of the chosen probabilities: weight_k = p_k / s, so dp_k = (dw_k - sum(dw w)) / s; then the
// softmax, dl_e = p_e (dp_e - sum(p dp)); and d(lse^2)/dl_e = 2 lse p_e.
template <class T>
void RouterBackward(Rows<const T> probabilities, const int32_t* experts, Rows<const T> weights,
                    Rows<const T> weights_gradient, Rows<const T> probabilities_gradient,
                    const double* log_sum_exp, double z_scale, Rows<T> logits_gradient) {
  const int64_t top_k = weights.columns;
  for (int64_t i = 0; i < probabilities.rows; ++i) {
    const T* p = probabilities[i];
    const int32_t* chosen = experts + i * top_k;
    T* gradient = logits_gradient[i];
    double kept = 0;
    double mean = 0;
    for (int64_t k = 0; k < top_k; ++k) {
      kept += p[chosen[k]];
      mean += static_cast<double>(weights_gradient[i][k]) * weights[i][k];
    }
    std::copy_n(probabilities_gradient[i], probabilities.columns, gradient);
    for (int64_t k = 0; k < top_k; ++k) {
      gradient[chosen[k]] += static_cast<T>((weights_gradient[i][k] - mean) / kept);
    }
    double dot = 0;
    for (int64_t e = 0; e < probabilities.columns; ++e) dot += static_cast<double>(p[e]) * gradient[e];
    const double z = z_scale * 2 * log_sum_exp[i];
    for (int64_t e = 0; e < probabilities.columns; ++e) {
      gradient[e] = static_cast<T>(p[e] * (gradient[e] - dot + z));
    }
  }
}

template void RouterForward(Rows<const float>, int, Rows<float>, int32_t*, Rows<float>, double*);
template void RouterForward(Rows<const double>, int, Rows<double>, int32_t*, Rows<double>, double*);
template void RouterBackward(Rows<const float>, const int32_t*, Rows<const float>, Rows<const float>,
                             Rows<const float>, const double*, double, Rows<float>);
template void RouterBackward(Rows<const double>, const int32_t*, Rows<const double>, Rows<const double>,
                             Rows<const double>, const double*, double, Rows<double>);

}  // namespace ballast::cpu
