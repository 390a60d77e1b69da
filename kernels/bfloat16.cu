// Float to bf16 and back: 6 bytes moved per element, bound by memory.
#include "kernels/bfloat16.h"
#include "kernels/check.h"
#include "kernels/device.cuh"

namespace ballast::kernels {
namespace {

constexpr int kThreads = 256;

template <class From, class To, int kWidth, bool kAligned>
__global__ void ConvertKernel(int64_t packs, const From* __restrict__ in, To* __restrict__ out) {
  for (int64_t i = GridIndex(); i < packs; i += GridThreads())
    StorePack<To, kWidth, kAligned>(LoadPack<From, kWidth, kAligned>(in + i * kWidth), out + i * kWidth);
}

template <class From, class To>
void Convert(const char* name, int64_t elements, const From* in, To* out, Stream stream) {
  if (elements == 0) return;
  const Launch launch(name);
  auto run = [&](auto width, auto aligned) {
    const int64_t packs = elements / width();
    ConvertKernel<From, To, width(), aligned()>
        <<<GridBlocks(packs, kThreads), kThreads, 0, stream>>>(packs, in, out);
  };
  WithPacks<float>(elements, run, in, out);
  launch.Check();
}

}  // namespace

void ToBFloat16(int64_t elements, const float* in, BFloat16* out, Stream stream) {
  Convert("to_bfloat16", elements, in, out, stream);
}

void FromBFloat16(int64_t elements, const BFloat16* in, float* out, Stream stream) {
  Convert("from_bfloat16", elements, in, out, stream);
}

}  // namespace ballast::kernels
