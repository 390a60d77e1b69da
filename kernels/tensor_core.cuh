// Products of small matrices of bfloat16 on the tensor cores, mma.sync.m16n8k16, and how their operands come
// there (PTX ISA, "Matrix fragments for mma.m16n8k16", ldmatrix, cp.async).
//
// A thread of a warp is (g, t) = (lane / 4, lane % 4) and holds, of each 16 x 8 tile of sums, the columns 2t
// and 2t + 1 of the rows g and g + 8.
#pragma once

#include <cuda_bf16.h>

#include "kernels/device.cuh"

namespace ballast::kernels::tensor {

// The 16 x 16 left operand, and the 16 x 8 right one.
struct Left {
  uint32_t r[4];
};
struct Right {
  uint32_t r[2];
};
// 16 x 8 sums: rows g, columns 2t and 2t + 1; then rows g + 8.
struct Sums {
  float v[4];
};

__device__ inline void MultiplyAdd(const Left& a, const Right& b, Sums& sums) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(sums.v[0]), "+f"(sums.v[1]), "+f"(sums.v[2]), "+f"(sums.v[3])
      : "r"(a.r[0]), "r"(a.r[1]), "r"(a.r[2]), "r"(a.r[3]), "r"(b.r[0]), "r"(b.r[1]));
}

__device__ inline uint32_t SharedAddress(const void* pointer) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(pointer));
}

// Four 8 x 8 matrices: lanes 8i..8i + 7 give the addresses of the 16-byte rows of matrix i. A thread has row
// g, columns 2t and 2t + 1 of each.
__device__ inline void LoadMatrices(const void* row, uint32_t& r0, uint32_t& r1, uint32_t& r2, uint32_t& r3) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r0), "=r"(r1), "=r"(r2), "=r"(r3)
               : "r"(SharedAddress(row)));
}
// The same of their transposes.
__device__ inline void LoadTransposedMatrices(const void* row, uint32_t& r0, uint32_t& r1, uint32_t& r2,
                                              uint32_t& r3) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r0), "=r"(r1), "=r"(r2), "=r"(r3)
               : "r"(SharedAddress(row)));
}

// Starts to write 16 bytes to shared memory: the first `bytes` of `from`, then zeros. Both are aligned to 16
// bytes.
__device__ inline void CopyVector(void* to, const void* from, int bytes) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(SharedAddress(to)), "l"(from),
               "r"(bytes));
}
__device__ inline void CommitLoads() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Until at most kPending of the last committed groups are under way.
template <int kPending>
__device__ inline void WaitForLoads() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

__device__ inline uint32_t Packed(__nv_bfloat16 low, __nv_bfloat16 high) {
  return static_cast<uint32_t>(__bfloat16_as_ushort(low)) | static_cast<uint32_t>(__bfloat16_as_ushort(high))
                                                                << 16;
}

}  // namespace ballast::kernels::tensor
