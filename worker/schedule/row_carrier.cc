#include "worker/schedule/row_carrier.h"

#include <algorithm>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/status_macros.h"

namespace ballast {
namespace {

// The runs that this rank touches, and where their bytes are at the moment.
struct Parcel {
  const RowRun* run = nullptr;
  std::vector<Rank> stops;
  size_t bytes = 0;
  const char* place = nullptr;   // null while another rank holds it
  const char* buffer = nullptr;  // that the place is in

  Rank Before(int stage) const { return stage == 0 ? run->from : stops[stage - 1]; }
};

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
    parcels.push_back({&run, std::move(stops), compressor.Bytes(context.backend, run.rows, columns)});
  }
  return parcels;
}

// Whether the parcels, in this order, are one run of rows.
bool AreOneRun(const std::vector<Parcel*>& parcels) {
  for (size_t i = 1; i < parcels.size(); ++i) {
    const RowRun& before = *parcels[i - 1]->run;
    if (parcels[i]->run->from_row != before.from_row + before.rows) return false;
  }
  return true;
}

// Appends a move, as a part of the last one where it goes on.
void Append(std::vector<RowMove>& moves, const RowMove& move) {
  if (!moves.empty()) {
    RowMove& last = moves.back();
    if (last.from + last.rows == move.from && last.to + last.rows == move.to) {
      last.rows += move.rows;
      return;
    }
  }
  moves.push_back(move);
}

// Brings the rows that begin here into wire form, grouped by their first stop so that they can be sent as
// they lie. Rows that already lie so stay in `in`.
absl::Status LayOutOwn(Rank self, const AllToAllContext& context, const Compressor& compressor, Matrix in,
                       std::vector<Parcel>& parcels) {
  const bool identity = compressor.IsIdentity(context.backend);
  const size_t row_bytes = compressor.Bytes(context.backend, 1, in.columns);
  std::vector<std::vector<Parcel*>> by_stop(context.communicator.size());
  for (Parcel& parcel : parcels) {
    if (parcel.run->from == self) by_stop[parcel.stops[0].index()].push_back(&parcel);
  }
  std::vector<Parcel*> packed;
  int64_t rows = 0;
  for (size_t peer = 0; peer < by_stop.size(); ++peer) {
    const bool stays = identity && (Rank(static_cast<int>(peer)) == self || AreOneRun(by_stop[peer]));
    for (Parcel* parcel : by_stop[peer]) {
      if (stays) {
        parcel->buffer = static_cast<const char*>(in.data);
        parcel->place = parcel->buffer + parcel->run->from_row * row_bytes;
      } else {
        packed.push_back(parcel);
        rows += parcel->run->rows;
      }
    }
  }
  BALLAST_ASSIGN_OR_RETURN(char* const wire, context.scratch.Get(0, rows * row_bytes));
  std::vector<RowMove> moves;
  int64_t next = 0;
  for (Parcel* parcel : packed) {
    Append(moves, {parcel->run->from_row, next, parcel->run->rows});
    parcel->buffer = wire;
    parcel->place = wire + next * row_bytes;
    next += parcel->run->rows;
  }
  compressor.CompressRuns(context.backend, context.stream, in, moves, wire);
  return absl::OkStatus();
}

// Takes what has arrived out of its wire form, into its rows of `out`.
void Deliver(Rank self, const AllToAllContext& context, const Compressor& compressor,
             const std::vector<Parcel>& parcels, Matrix out) {
  const size_t row_bytes = compressor.Bytes(context.backend, 1, out.columns);
  std::map<const char*, std::vector<RowMove>> by_buffer;
  for (const Parcel& parcel : parcels) {
    if (parcel.run->to != self) continue;
    const auto row = static_cast<int64_t>((parcel.place - parcel.buffer) / row_bytes);
    Append(by_buffer[parcel.buffer], {row, parcel.run->to_row, parcel.run->rows});
  }
  for (const auto& [buffer, moves] : by_buffer) {
    int64_t rows = 0;
    for (const RowMove& move : moves) rows = std::max(rows, move.from + move.rows);
    compressor.DecompressRuns(context.backend, context.stream, buffer, rows, moves, out);
  }
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
  BALLAST_ASSIGN_OR_RETURN(char* const buffer, context.scratch.Get(2 * stage + 1, total));
  char* to = buffer;
  std::vector<RecvOp> recvs;
  for (int peer = 0; peer < context.communicator.size(); ++peer) {
    RecvOp recv{.from = Rank(peer), .data = to};
    for (Parcel& parcel : parcels) {
      if (!comes(parcel) || parcel.Before(stage) != Rank(peer)) continue;
      parcel.place = to;
      parcel.buffer = buffer;
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
  BALLAST_RETURN_IF_ERROR(LayOutOwn(self, context, compressor, in, parcels));
  for (int stage = 0; stage < stages; ++stage) {
    BALLAST_ASSIGN_OR_RETURN(std::vector<SendOp> sends, Sends(self, context, stage, parcels));
    BALLAST_ASSIGN_OR_RETURN(std::vector<RecvOp> recvs, Recvs(self, context, stage, parcels));
    std::unique_ptr<Pending> pending =
        context.communicator.Exchange(context.stream, std::move(sends), std::move(recvs));
    BALLAST_RETURN_IF_ERROR(context.communicator.Follow(*pending, context.deadline));
  }
  Deliver(self, context, compressor, parcels, out);
  return absl::OkStatus();
}

}  // namespace ballast
