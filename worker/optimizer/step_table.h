// StepTable: what all ranks know about a step after its one all-gather: headers, losses, gradient norms.
//
// Every rank contributes one row: its header, its sequences' losses, and the sum of squares of each block
// that it owns. The table lists them in global order, so sums over it do not depend on who contributed what.
// Pure.
#pragma once

#include <cstdint>
#include <vector>

#include "base/ids.h"
#include "protocol/header.h"

namespace ballast {

// Losses of one sequence: cross-entropy summed over its tokens, auxiliary losses summed over the layers.
struct SequenceLoss {
  double cross_entropy = 0;
  double load_balance = 0;
  double z_loss = 0;
};

struct StepRow {
  StepHeader header;
  std::vector<SequenceLoss> losses;   // [sequence of this rank]
  std::vector<double> block_squares;  // [owned block, rising]
};

struct StepTable {
  std::vector<StepHeader> headers;    // [rank]
  std::vector<SequenceLoss> losses;   // [sequence of the global batch]
  std::vector<double> block_squares;  // [block]
};

// What each rank contributes: equal on all ranks, since it follows from the plan and the batch.
struct StepTableShape {
  std::vector<int64_t> sequences;           // [rank], the ranks' contiguous parts of the global batch
  std::vector<std::vector<BlockId>> owned;  // [rank] blocks, rising
  int64_t blocks = 0;
};

// Bytes of `rank`'s row: 80 + 24 per sequence + 8 per owned block.
size_t RowBytes(const StepTableShape& shape, Rank rank);
// Writes exactly RowBytes at `out`.
void EncodeRow(const StepRow& row, char* out);
// From the rows, one after the other in the order of ranks.
StepTable DecodeTable(const StepTableShape& shape, const char* rows);

// sqrt of the sum over blocks in id order.
double GlobalNorm(const StepTable& table);
// 1, or what brings the norm down to clip_norm; 0 = no clipping.
double ClipFactor(double norm, double clip_norm);
// Sums over sequences in global order.
SequenceLoss SumLosses(const std::vector<SequenceLoss>& losses);

}  // namespace ballast
