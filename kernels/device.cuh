// What the kernels share on the device: 16-bit values as float, sums over a warp and a block, launch sizes.
//
// Every sum is a fixed tree over the threads, so its bits follow from the values and the launch alone.
#pragma once

#include <cuda_bf16.h>

#include <algorithm>
#include <cstdint>
#include <type_traits>

namespace ballast::kernels {

constexpr int kWarp = 32;
constexpr unsigned kAllLanes = 0xffffffffu;

__device__ inline float ToFloat(float value) { return value; }
__device__ inline float ToFloat(__nv_bfloat16 value) { return __bfloat162float(value); }

template <class T>
__device__ inline T FromFloat(float value);
template <>
__device__ inline float FromFloat<float>(float value) {
  return value;
}
template <>
__device__ inline __nv_bfloat16 FromFloat<__nv_bfloat16>(float value) {
  return __float2bfloat16_rn(value);
}

// Consecutive values that a thread moves at once, as floats. A row of `columns` values is taken in packs when
// it divides into them (WithPacks), whatever its address, so that no sum depends on where memory lies;
// unaligned packs are read value by value.
constexpr int kPackBytes = 16;
template <class T>
constexpr int kPackWidth = kPackBytes / sizeof(T);

template <int kWidth>
struct Floats {
  float v[kWidth];
};
template <class T, int kWidth, bool kAligned>
__device__ inline Floats<kWidth> LoadPack(const T* from) {
  struct alignas(sizeof(T) * kWidth) Pack {
    T v[kWidth];
  };
  Floats<kWidth> out;
  if constexpr (kAligned) {
    const Pack pack = *reinterpret_cast<const Pack*>(from);
#pragma unroll
    for (int i = 0; i < kWidth; ++i) out.v[i] = ToFloat(pack.v[i]);
  } else {
#pragma unroll
    for (int i = 0; i < kWidth; ++i) out.v[i] = ToFloat(from[i]);
  }
  return out;
}
template <class T, int kWidth, bool kAligned>
__device__ inline void StorePack(const Floats<kWidth>& values, T* to) {
  struct alignas(sizeof(T) * kWidth) Pack {
    T v[kWidth];
  };
  if constexpr (kAligned) {
    Pack pack;
#pragma unroll
    for (int i = 0; i < kWidth; ++i) pack.v[i] = FromFloat<T>(values.v[i]);
    *reinterpret_cast<Pack*>(to) = pack;
  } else {
#pragma unroll
    for (int i = 0; i < kWidth; ++i) to[i] = FromFloat<T>(values.v[i]);
  }
}

// Calls launch(width, aligned), both std::integral_constants, for rows of `columns` values of T at these
// addresses.
template <class T, class Launcher, class... Pointers>
void WithPacks(int64_t columns, const Launcher& launch, const Pointers*... pointers) {
  const bool aligned = ((reinterpret_cast<uintptr_t>(pointers) % kPackBytes == 0) && ...);
  if (columns % kPackWidth<T> != 0) {
    launch(std::integral_constant<int, 1>(), std::true_type());
  } else if (aligned) {
    launch(std::integral_constant<int, kPackWidth<T>>(), std::true_type());
  } else {
    launch(std::integral_constant<int, kPackWidth<T>>(), std::false_type());
  }
}

// The sum over all lanes, in all lanes.
template <class V>
__device__ inline V WarpSum(V value) {
  for (int offset = kWarp / 2; offset > 0; offset /= 2) value += __shfl_xor_sync(kAllLanes, value, offset);
  return value;
}
template <class V>
__device__ inline V WarpMax(V value) {
  for (int offset = kWarp / 2; offset > 0; offset /= 2) {
    value = max(value, __shfl_xor_sync(kAllLanes, value, offset));
  }
  return value;
}

// The sum over the block, in all threads. kThreads is the block's size; all threads call it.
template <int kThreads, class V>
__device__ inline V BlockSum(V value) {
  constexpr int kWarps = kThreads / kWarp;
  static_assert(kThreads % kWarp == 0 && kWarps <= kWarp);
  __shared__ V of_warp[kWarps];
  value = WarpSum(value);
  __syncthreads();  // a sum before may still be read
  if (threadIdx.x % kWarp == 0) of_warp[threadIdx.x / kWarp] = value;
  __syncthreads();
  V sum = 0;
  for (int w = 0; w < kWarps; ++w) sum += of_warp[w];
  return sum;
}

template <int kThreads>
__device__ inline float BlockMax(float value) {
  constexpr int kWarps = kThreads / kWarp;
  __shared__ float of_warp[kWarps];
  value = WarpMax(value);
  __syncthreads();
  if (threadIdx.x % kWarp == 0) of_warp[threadIdx.x / kWarp] = value;
  __syncthreads();
  float highest = of_warp[0];
  for (int w = 1; w < kWarps; ++w) highest = max(highest, of_warp[w]);
  return highest;
}

// For loops `for (i = GridIndex(); i < n; i += GridThreads())`.
__device__ inline int64_t GridIndex() { return static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; }
__device__ inline int64_t GridThreads() { return static_cast<int64_t>(gridDim.x) * blockDim.x; }

// Blocks of such a loop: one pass over small arrays, a bounded number of blocks for large ones.
inline int GridBlocks(int64_t elements, int threads) {
  constexpr int64_t kBlocksMax = 8192;
  return static_cast<int>(std::min((elements + threads - 1) / threads, kBlocksMax));
}

}  // namespace ballast::kernels
