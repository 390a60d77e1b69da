// AllToAll: how the rows of one MoE layer travel from their source to the ranks that compute them, and back.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/registry.h"
#include "plan/topology.h"
#include "worker/backend/backend.h"
#include "worker/comm/communicator.h"
#include "worker/schedule/compressor.h"
#include "worker/schedule/route.h"
#include "worker/schedule/scratch.h"

namespace ballast {

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

// "direct", "rails", "two_level".
const Registry<AllToAllPtr>& AllToAlls();

}  // namespace ballast
