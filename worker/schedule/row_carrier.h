// Carries runs of rows from rank to rank along given stops; what the all-to-all algorithms differ in is the
// stops alone.
//
// In stage k every rank sends, in one grouped exchange, what it holds and what has another stop next. Rows
// are compressed once, at their start, and decompressed once, at their end, so the stops change no bit.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "absl/status/status.h"
#include "worker/schedule/all_to_all.h"

namespace ballast {

// Consecutive rows of the input at `from` that become consecutive rows of the output at `to`.
struct RowRun {
  Rank from;
  Rank to;
  int64_t rows = 0;
  int64_t from_row = 0;
  int64_t to_row = 0;
};

// The route's segments in the given direction, in the order of the segments; empty ones are left out.
std::vector<RowRun> RunsOf(const Route& route, Direction direction);

// Where a run is after each stage: stops[0] after the first; the last one must be run.to. All runs have
// equally many.
using StopsOf = std::function<std::vector<Rank>(const RowRun& run)>;

// One message carries all runs of one pair of ranks and stage, in the order of `runs`.
absl::Status CarryRows(const AllToAllContext& context, const std::vector<RowRun>& runs,
                       const StopsOf& stops_of, int stages, const Compressor& compressor, Matrix in,
                       Matrix out);

}  // namespace ballast
