// Rotary position embedding (Su et al., arXiv 2104.09864), "rotate half" pairing: element i turns with i +
// head_size / 2.
#include <cmath>

#include "worker/backend/cpu/kernels.h"

namespace ballast::cpu {

template <class T>
void Rope(Rows<T> x, const AttentionShape& shape, int heads, double theta, bool backward, T* scratch) {
  const int half = shape.head_size / 2;
  T* cosine = scratch;
  T* sine = scratch + half;
  for (int64_t position = 0; position < shape.length; ++position) {
    for (int i = 0; i < half; ++i) {
      double angle = static_cast<double>(position) * std::pow(theta, -2.0 * i / shape.head_size);
      cosine[i] = static_cast<T>(std::cos(angle));
      sine[i] = static_cast<T>(backward ? -std::sin(angle) : std::sin(angle));
    }
    for (int64_t sequence = 0; sequence < shape.sequences; ++sequence) {
      for (int head = 0; head < heads; ++head) {
        T* low = x[sequence * shape.length + position] + static_cast<int64_t>(head) * shape.head_size;
        T* high = low + half;
        for (int i = 0; i < half; ++i) {
          const T a = low[i];
          const T b = high[i];
          low[i] = a * cosine[i] - b * sine[i];
          high[i] = b * cosine[i] + a * sine[i];
        }
      }
    }
  }
}

template void Rope(Rows<float>, const AttentionShape&, int, double, bool, float*);
template void Rope(Rows<double>, const AttentionShape&, int, double, bool, double*);

}  // namespace ballast::cpu
