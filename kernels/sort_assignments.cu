// A stable counting sort in three passes: count per tile, offsets, ranks within a tile. A tile is a run of
// assignments that one warp goes through in order, so equal experts keep the order of their tokens; no atomic
// gives out a place.
#include "kernels/check.h"
#include "kernels/device.cuh"
#include "kernels/router.h"
#include "kernels/sort_assignments.h"

namespace ballast::kernels {
namespace {

constexpr int kTile = 512;
constexpr int kScanThreads = 256;

int64_t TilesOf(int64_t assignments) { return (assignments + kTile - 1) / kTile; }

// Shared memory: a counter per expert.
__global__ void CountKernel(int64_t assignments, int experts, const int32_t* __restrict__ chosen,
                            int* __restrict__ tile_counts) {
  extern __shared__ int counts[];
  const int lane = threadIdx.x;
  for (int e = lane; e < experts; e += kWarp) counts[e] = 0;
  __syncwarp();
  const int64_t begin = static_cast<int64_t>(blockIdx.x) * kTile;
  const int64_t end = min(begin + kTile, assignments);
  for (int64_t i = begin + lane; i < end; i += kWarp) atomicAdd(counts + chosen[i], 1);
  __syncwarp();
  for (int e = lane; e < experts; e += kWarp) tile_counts[blockIdx.x * experts + e] = counts[e];
}

// One block. Turns a tile's count of an expert into the row of its first assignment there.
__global__ void OffsetsKernel(int64_t tiles, int experts, int* __restrict__ tile_counts,
                              int64_t* __restrict__ counts) {
  __shared__ int64_t first[kRouterExpertsMax];
  for (int e = threadIdx.x; e < experts; e += kScanThreads) {
    int64_t sum = 0;
    for (int64_t t = 0; t < tiles; ++t) sum += tile_counts[t * experts + e];
    counts[e] = sum;
    first[e] = sum;
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    int64_t next = 0;
    for (int e = 0; e < experts; ++e) {
      const int64_t count = first[e];
      first[e] = next;
      next += count;
    }
  }
  __syncthreads();
  for (int e = threadIdx.x; e < experts; e += kScanThreads) {
    int64_t next = first[e];
    for (int64_t t = 0; t < tiles; ++t) {
      const int count = tile_counts[t * experts + e];
      tile_counts[t * experts + e] = static_cast<int>(next);
      next += count;
    }
  }
}

// Shared memory: the next row of each expert.
__global__ void PlaceKernel(int64_t assignments, int top_k, int experts, const int32_t* __restrict__ chosen,
                            const int* __restrict__ tile_offsets, int64_t* __restrict__ token_of,
                            int64_t* __restrict__ row_of) {
  extern __shared__ int next[];
  const int lane = threadIdx.x;
  for (int e = lane; e < experts; e += kWarp) next[e] = tile_offsets[blockIdx.x * experts + e];
  __syncwarp();
  const int64_t begin = static_cast<int64_t>(blockIdx.x) * kTile;
  for (int64_t base = begin; base < min(begin + kTile, assignments); base += kWarp) {
    const int64_t i = base + lane;
    const bool inside = i < assignments;
    const int expert = inside ? chosen[i] : -1;
    const unsigned same = __match_any_sync(kAllLanes, expert);
    const int before = __popc(same & ((1u << lane) - 1));
    int row = 0;
    if (inside) row = next[expert] + before;
    __syncwarp();
    if (inside && before == 0) next[expert] += __popc(same);
    __syncwarp();
    if (inside) {
      row_of[i] = row;
      token_of[row] = i / top_k;
    }
  }
}

}  // namespace

size_t SortAssignmentsScratchBytes(int64_t assignments, int experts) {
  return static_cast<size_t>(TilesOf(assignments) * experts) * sizeof(int);
}

void SortAssignments(int64_t assignments, int top_k, int experts, const int32_t* chosen, int64_t* counts,
                     int64_t* token_of, int64_t* row_of, void* scratch, Stream stream) {
  const Launch launch("sort_assignments");
  const int64_t tiles = TilesOf(assignments);
  const size_t shared = sizeof(int) * static_cast<size_t>(experts);
  int* tile_counts = static_cast<int*>(scratch);
  if (tiles > 0) CountKernel<<<tiles, kWarp, shared, stream>>>(assignments, experts, chosen, tile_counts);
  OffsetsKernel<<<1, kScanThreads, 0, stream>>>(tiles, experts, tile_counts, counts);
  if (tiles > 0) {
    PlaceKernel<<<tiles, kWarp, shared, stream>>>(assignments, top_k, experts, chosen, tile_counts, token_of,
                                                  row_of);
  }
  launch.Check();
}

}  // namespace ballast::kernels
