#include "worker/schedule/row_carrier.h"

#include <memory>
#include <utility>

#include "base/check.h"
#include "base/status_macros.h"

namespace ballast {
namespace {

// The runs that this rank touches, and where their bytes are at the moment.
struct Parcel {
  const RowRun* run = nullptr;
  std::vector<Rank> stops;
  size_t bytes = 0;
  const char* place = nullptr;  // null while another rank holds it

  Rank Before(int stage) const { return stage == 0 ? run->from : stops[stage - 1]; }
};

Matrix Rows(const Backend& backend, Matrix all, int64_t first, int64_t rows) {
  return {static_cast<char*>(all.data) + first * all.columns * backend.element_bytes(), rows, all.columns};
}

std::vector<Parcel> ParcelsOf(Rank self, const AllToAllContext& context, const std::vector<RowRun>& runs,
                              const StopsOf& stops_of, int stages, const Compressor& compressor,
                              int64_t columns) {
  std::vector<Parcel> parcels;
  for (const RowRun& run : runs) {
    std::vector<Rank> stops = stops_of(run);
    BALLAST_CHECK(static_cast<int>(stops.size()) == stages && stops.back() == run.to)
        << "a run does not arrive";
    bool mine = run.from == self;
    for (Rank stop : stops) mine |= stop == self;
    if (!mine) continue;
    parcels.push_back(
        {&run, std::move(stops), compressor.Bytes(context.backend, run.rows, columns), nullptr});
  }
  return parcels;
}

// Writes the rows that begin here in wire form, grouped by their first stop so that they can be sent as they
// lie.
absl::Status CompressOwn(Rank self, const AllToAllContext& context, const Compressor& compressor, Matrix in,
                         std::vector<Parcel>& parcels) {
  size_t total = 0;
  for (const Parcel& parcel : parcels) {
    if (parcel.run->from == self) total += parcel.bytes;
  }
  BALLAST_ASSIGN_OR_RETURN(char* to, context.scratch.Get(0, total));
  for (int peer = 0; peer < context.communicator.size(); ++peer) {
    for (Parcel& parcel : parcels) {
      if (parcel.run->from != self || parcel.stops[0] != Rank(peer)) continue;
      compressor.Compress(context.backend, context.stream,
                          Rows(context.backend, in, parcel.run->from_row, parcel.run->rows), to);
      parcel.place = to;
      to += parcel.bytes;
    }
  }
  return absl::OkStatus();
}

// The messages that leave this rank in `stage`; from the second stage on their parcels are brought together
// first.
absl::StatusOr<std::vector<SendOp>> Sends(Rank self, const AllToAllContext& context, int stage,
                                          std::vector<Parcel>& parcels) {
  auto leaves = [&](const Parcel& parcel, int peer) {
    return parcel.Before(stage) == self && parcel.stops[stage] == Rank(peer) && Rank(peer) != self;
  };
  char* pack = nullptr;
  if (stage > 0) {
    size_t total = 0;
    for (const Parcel& parcel : parcels) {
      if (parcel.Before(stage) == self && parcel.stops[stage] != self) total += parcel.bytes;
    }
    BALLAST_ASSIGN_OR_RETURN(pack, context.scratch.Get(2 * stage, total));
  }
  std::vector<SendOp> sends;
  for (int peer = 0; peer < context.communicator.size(); ++peer) {
    SendOp send{.to = Rank(peer)};
    for (Parcel& parcel : parcels) {
      if (!leaves(parcel, peer)) continue;
      BALLAST_CHECK(parcel.place != nullptr) << "a run is sent from where it is not";
      if (stage > 0) {
        context.backend.Copy(context.stream, pack, parcel.place, parcel.bytes);
        parcel.place = pack;
        pack += parcel.bytes;
      }
      if (send.bytes == 0) send.data = parcel.place;
      send.bytes += parcel.bytes;
    }
    if (send.bytes > 0) sends.push_back(send);
  }
  return sends;
}

// The messages that reach this rank in `stage`; places are set although the bytes come later.
absl::StatusOr<std::vector<RecvOp>> Recvs(Rank self, const AllToAllContext& context, int stage,
                                          std::vector<Parcel>& parcels) {
  auto comes = [&](const Parcel& parcel) {
    return parcel.stops[stage] == self && parcel.Before(stage) != self;
  };
  size_t total = 0;
  for (const Parcel& parcel : parcels) {
    if (comes(parcel)) total += parcel.bytes;
  }
  BALLAST_ASSIGN_OR_RETURN(char* to, context.scratch.Get(2 * stage + 1, total));
  std::vector<RecvOp> recvs;
  for (int peer = 0; peer < context.communicator.size(); ++peer) {
    RecvOp recv{.from = Rank(peer), .data = to};
    for (Parcel& parcel : parcels) {
      if (!comes(parcel) || parcel.Before(stage) != Rank(peer)) continue;
      parcel.place = to;
      to += parcel.bytes;
      recv.bytes += parcel.bytes;
    }
    if (recv.bytes > 0) recvs.push_back(recv);
  }
  return recvs;
}

}  // namespace

std::vector<RowRun> RunsOf(const Route& route, Direction direction) {
  std::vector<RowRun> runs;
  for (const RouteSegment& s : route.segments) {
    if (s.rows == 0) continue;
    if (direction == Direction::kDispatch) {
      runs.push_back({s.source, s.host, s.rows, s.source_offset, s.host_offset});
    } else {
      runs.push_back({s.host, s.source, s.rows, s.host_offset, s.source_offset});
    }
  }
  return runs;
}

absl::Status CarryRows(const AllToAllContext& context, const std::vector<RowRun>& runs,
                       const StopsOf& stops_of, int stages, const Compressor& compressor, Matrix in,
                       Matrix out) {
  const Rank self = context.communicator.rank();
  BALLAST_CHECK(in.columns == out.columns) << in.columns << " columns in, " << out.columns << " out";
  std::vector<Parcel> parcels = ParcelsOf(self, context, runs, stops_of, stages, compressor, in.columns);
  BALLAST_RETURN_IF_ERROR(CompressOwn(self, context, compressor, in, parcels));
  for (int stage = 0; stage < stages; ++stage) {
    BALLAST_ASSIGN_OR_RETURN(std::vector<SendOp> sends, Sends(self, context, stage, parcels));
    BALLAST_ASSIGN_OR_RETURN(std::vector<RecvOp> recvs, Recvs(self, context, stage, parcels));
    std::unique_ptr<Pending> pending =
        context.communicator.Exchange(context.stream, std::move(sends), std::move(recvs));
    BALLAST_RETURN_IF_ERROR(context.communicator.Wait(*pending, context.deadline));
  }
  for (const Parcel& parcel : parcels) {
    if (parcel.run->to != self) continue;
    compressor.Decompress(context.backend, context.stream, parcel.place,
                          Rows(context.backend, out, parcel.run->to_row, parcel.run->rows));
  }
  return absl::OkStatus();
}

}  // namespace ballast
