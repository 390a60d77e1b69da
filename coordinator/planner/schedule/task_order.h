// The chunked tasks of one MoE layer, and how long they take together.
//
// With r chunks a layer has r of each: compress (C), dispatch (A), experts (B), combine (X), decompress (F).
// A and X run on the communication stream, the others on the compute stream; a chunk's tasks follow each
// other, tasks of a stream do not overlap. Order ("grouped"): all C, then all B, then all F; beside them all
// A, then all X. Exhaustive search over every feasible order, chunks in order within a kind, finds none that
// is shorter where compression takes less than half an exchange; best_order.h finds those that are where it
// takes more.
#pragma once

namespace ballast {

// One kind of task: what it costs to start, and its work in all, which chunks divide. Any one unit of time.
struct ChunkedTask {
  double start = 0;
  double work = 0;
  double At(int chunks) const { return start + work / chunks; }
};

struct LayerTasks {
  ChunkedTask compress, dispatch, experts, combine, decompress;
};

// End of the last task under the grouped order. `overlap`: the streams run beside each other; otherwise each
// task waits for the one before. O(chunks).
double GroupedTime(const LayerTasks& tasks, int chunks, bool overlap);

// No order of so many chunks takes less: the compute stream's work, or the communication's with what must
// come before the first and after the last of it.
double ScheduleBound(const LayerTasks& tasks, int chunks);

// Of 1..chunks_max, the fewest chunks that take at most 1 % more than the best number, under the grouped order:
// what plans name and ranks run.
int ChooseChunks(const LayerTasks& tasks, int chunks_max, bool overlap);

}  // namespace ballast
