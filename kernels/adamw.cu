// AdamW (Loshchilov and Hutter, arXiv 1711.05101): bound by memory, 28 bytes of state and gradient and a T
// per element.
#include "kernels/adamw.h"
#include "kernels/check.h"
#include "kernels/device.cuh"

namespace ballast::kernels {
namespace {

constexpr int kThreads = 256;

template <class T>
__global__ void AdamWKernel(const AdamWFactors f, int64_t elements, const float* __restrict__ gradient,
                            float* __restrict__ master, float* __restrict__ moment1,
                            float* __restrict__ moment2, T* __restrict__ compute_weights) {
  for (int64_t i = GridIndex(); i < elements; i += GridThreads()) {
    const float g = gradient[i] * f.gradient_scale;
    const float m = f.beta1 * moment1[i] + f.rest1 * g;
    const float v = f.beta2 * moment2[i] + f.rest2 * g * g;
    const float weight = f.keep * master[i] - f.rate * m / (sqrtf(v) * f.root_correction + f.epsilon);
    moment1[i] = m;
    moment2[i] = v;
    master[i] = weight;
    compute_weights[i] = FromFloat<T>(weight);
  }
}

}  // namespace

template <class T>
void AdamW(const AdamWFactors& factors, int64_t elements, const float* gradient, float* master,
           float* moment1, float* moment2, T* compute_weights, Stream stream) {
  if (elements == 0) return;
  const Launch launch("adamw");
  AdamWKernel<<<GridBlocks(elements, kThreads), kThreads, 0, stream>>>(factors, elements, gradient, master,
                                                                       moment1, moment2, compute_weights);
  launch.Check();
}

template void AdamW(const AdamWFactors&, int64_t, const float*, float*, float*, float*, float*, Stream);
template void AdamW(const AdamWFactors&, int64_t, const float*, float*, float*, float*, BFloat16*, Stream);

}  // namespace ballast::kernels
