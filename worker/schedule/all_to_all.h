// AllToAll: how the rows of one MoE layer travel from their source to the ranks that compute them, and back.
//
// Rows: one per assignment (token, k). Source order: assignments sorted by (expert, canonical order), cut by
// the split's shares, so that what goes to one host is one run per expert. Host order: by slot index, and
// inside a slot by source rank and then source order, which is canonical order: global sequence index,
// position, k.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/registry.h"
#include "plan/plan.h"
#include "plan/split.h"
#include "plan/topology.h"
#include "worker/backend/backend.h"
#include "worker/comm/communicator.h"
#include "worker/schedule/compressor.h"
#include "worker/schedule/scratch.h"

namespace ballast {

// Rows from `source` to `host` for the host's slot `slot`. Every rank that has the segment has it alike.
struct RouteSegment {
  Rank source;
  Rank host;
  int slot = 0;
  ExpertId expert;
  int64_t rows = 0;
  int64_t source_offset = 0;  // first row in the source's send order; only where the source is wanted
  int64_t host_offset = 0;    // first row in the host's expert order; only where the host is wanted
};

// The exchange of one microbatch and layer, as far as the split was asked for. Pure data.
struct Route {
  int ranks = 0;
  std::vector<RouteSegment> segments;  // ordered by (source, expert, host)
  // Whole for wanted ranks, a part for others.
  std::vector<int64_t> source_rows;             // [rank] rows sent (all its assignments)
  std::vector<int64_t> host_rows;               // [rank] rows computed
  std::vector<std::vector<int64_t>> slot_rows;  // [rank][slot index]
  uint64_t hash = 0;                            // of the split
};

// From the split of the gathered counts. `slots` are the layer's.
Route MakeRoute(const Split& split, const LayerPlan& layer);

enum class Direction { kDispatch, kCombine };  // source -> host, host -> source

struct AllToAllContext {
  Communicator& communicator;
  Backend& backend;
  Stream& stream;
  const Topology& topology;
  Time deadline;
  AllToAllScratch& scratch;  // of the calling thread
};

class AllToAll {
 public:
  virtual ~AllToAll() = default;
  virtual std::string name() const = 0;
  // [rank] 1: what this rank sends or receives, or both, passes through `self` or may do so, so that `self`
  // needs its rows and columns of the split. `self` is always among them.
  virtual std::vector<char> Wanted(const Topology& topology, Rank self) const = 0;
  // Moves rows along the route, which holds the segments of the wanted ranks at least. Dispatch: `in` is
  // [source_rows, H] in source order, `out` is [host_rows, H] in host order; combine: the other way round.
  // Rows come back unreduced. Local rows pass through the compressor too.
  virtual absl::Status Exchange(const AllToAllContext& context, const Route& route, Direction direction,
                                const Compressor& compressor, Matrix in, Matrix out) const = 0;
};

using AllToAllPtr = std::shared_ptr<const AllToAll>;

// "direct", "two_level".
const Registry<AllToAllPtr>& AllToAlls();

}  // namespace ballast
