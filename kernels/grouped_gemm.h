// Many small products of bfloat16 in one launch: those of a rank's experts, each with its own number of rows.
#pragma once

#include <compare>
#include <cstdint>
#include <span>

#include "kernels/types.h"

namespace ballast::kernels {

// Row-major and dense; m and n are those of all tasks, `rows` is a task's own.
//   kNT: c [rows, n] = a [rows, m] b^T, b [n, m]
//   kNN: c [rows, n] = a [rows, m] b, b [m, n]
//   kTN: c [m, n] = a^T b, a [rows, m], b [rows, n]
enum class GroupedKind { kNT, kNN, kTN };

struct GroupedShape {
  GroupedKind kind;
  int64_t m, n;             // multiples of kGroupedMultiple
  bool accumulate = false;  // adds to what c holds
  friend auto operator<=>(const GroupedShape&, const GroupedShape&) = default;
};

struct GroupedTask {
  const BFloat16* a = nullptr;
  const BFloat16* b = nullptr;
  BFloat16* c = nullptr;
  int64_t rows = 0;
};

constexpr int64_t kGroupedMultiple = 8;

// All tasks at once. A task's bits follow from its shape and values alone: neither from where its matrices
// lie nor from the other tasks. A sum over no rows is 0.
void GroupedGemm(const GroupedShape& shape, std::span<const GroupedTask> tasks, Stream stream);

}  // namespace ballast::kernels
