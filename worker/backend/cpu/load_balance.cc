// Load-balance loss of one sequence: E * sum over e of f_e P_e (Fedus et al., arXiv 2101.03961, per sequence
// instead of per batch), f_e the share of its assignments that went to expert e, P_e its mean probability.
#include "worker/backend/cpu/kernels.h"

namespace ballast::cpu {

template <class T>
void LoadBalance(Rows<const T> probabilities, const int32_t* experts, int top_k, int64_t sequences,
                 double scale, double* loss, Rows<T> probabilities_gradient, double* scratch) {
  const int64_t expert_count = probabilities.columns;
  const int64_t length = sequences > 0 ? probabilities.rows / sequences : 0;
  double* share = scratch;
  for (int64_t sequence = 0; sequence < sequences; ++sequence) {
    const int64_t first = sequence * length;
    for (int64_t e = 0; e < expert_count; ++e) share[e] = 0;
    for (int64_t i = first * top_k; i < (first + length) * top_k; ++i) share[experts[i]] += 1;
    for (int64_t e = 0; e < expert_count; ++e) share[e] /= static_cast<double>(length * top_k);

    double sum = 0;
    for (int64_t e = 0; e < expert_count; ++e) {
      double mean = 0;
      for (int64_t i = 0; i < length; ++i) mean += probabilities[first + i][e];
      sum += share[e] * (mean / static_cast<double>(length));
    }
    loss[sequence] = static_cast<double>(expert_count) * sum;

    const double by = scale * static_cast<double>(expert_count) / static_cast<double>(length);
    for (int64_t i = 0; i < length; ++i) {
      T* gradient = probabilities_gradient[first + i];
      for (int64_t e = 0; e < expert_count; ++e) gradient[e] = static_cast<T>(by * share[e]);
    }
  }
}

template void LoadBalance(Rows<const float>, const int32_t*, int, int64_t, double, double*, Rows<float>,
                          double*);
template void LoadBalance(Rows<const double>, const int32_t*, int, int64_t, double, double*, Rows<double>,
                          double*);

}  // namespace ballast::cpu
