// Rotary position embedding (Su et al., arXiv 2104.09864), "rotate half" pairing: element i turns with i +
// head_size / 2.
//
// A thread has one position and one pair of every head and sequence, so that the angle, which needs double at
// large positions, is worked out once.
#include "kernels/check.h"
#include "kernels/device.cuh"
#include "kernels/rope.h"

namespace ballast::kernels {
namespace {

constexpr int kThreads = 128;

template <class T>
__global__ void RopeKernel(const RopeShape shape, double theta, bool backward, T* x) {
  const int half = shape.head_size / 2;
  const int64_t width = static_cast<int64_t>(shape.heads) * shape.head_size;
  for (int64_t n = GridIndex(); n < shape.length * half; n += GridThreads()) {
    const int64_t position = n / half;
    const int i = static_cast<int>(n % half);
    double sine, cosine;
    sincos(static_cast<double>(position) * pow(theta, -2.0 * i / shape.head_size), &sine, &cosine);
    const float s = static_cast<float>(backward ? -sine : sine);
    const float c = static_cast<float>(cosine);
    for (int64_t sequence = 0; sequence < shape.sequences; ++sequence) {
      T* low = x + (sequence * shape.length + position) * width + i;
      for (int head = 0; head < shape.heads; ++head, low += shape.head_size) {
        const float a = ToFloat(low[0]);
        const float b = ToFloat(low[half]);
        low[0] = FromFloat<T>(a * c - b * s);
        low[half] = FromFloat<T>(b * c + a * s);
      }
    }
  }
}

}  // namespace

template <class T>
void Rope(const RopeShape& shape, double theta, bool backward, T* x, Stream stream) {
  const int64_t threads = shape.length * (shape.head_size / 2);
  if (threads == 0 || shape.sequences == 0) return;
  const Launch launch("rope");
  RopeKernel<<<GridBlocks(threads, kThreads), kThreads, 0, stream>>>(shape, theta, backward, x);
  launch.Check();
}

template void Rope(const RopeShape&, double, bool, float*, Stream);
template void Rope(const RopeShape&, double, bool, BFloat16*, Stream);

}  // namespace ballast::kernels
