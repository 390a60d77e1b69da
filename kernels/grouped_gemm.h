// Many small products of bfloat16 in one launch: those of a rank's experts, each with its own number of rows.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/types.h"

namespace ballast::kernels {

// Row-major and dense: c [rows, n] = a [rows, k] b, where b is [n, k]^T (kNT) or [k, n] (kNN).
enum class GroupedKind { kNT, kNN };

struct GroupedTask {
  const BFloat16* a = nullptr;
  const BFloat16* b = nullptr;
  BFloat16* c = nullptr;
  int64_t rows = 0;
};

// n and k must be multiples of this.
constexpr int64_t kGroupedMultiple = 8;

// All tasks at once. A task's bits follow from its n, k and values alone: neither from where its matrices lie
// nor from the other tasks.
void GroupedGemm(GroupedKind kind, int64_t n, int64_t k, std::span<const GroupedTask> tasks, Stream stream);

}  // namespace ballast::kernels
