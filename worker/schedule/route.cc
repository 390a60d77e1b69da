#include "worker/schedule/route.h"

#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace ballast {
namespace {

int64_t Sum(const std::vector<int64_t>& values) {
  return std::accumulate(values.begin(), values.end(), int64_t{0});
}

}  // namespace

Route MakeRoute(const Split& split, const LayerPlan& layer) {
  Route route;
  const int ranks = static_cast<int>(layer.slots.size());
  route.ranks = ranks;
  route.hash = split.hash;
  route.source_rows.assign(ranks, 0);
  route.host_rows.assign(ranks, 0);
  route.slot_rows.resize(ranks);
  for (int r = 0; r < ranks; ++r) route.slot_rows[r].assign(layer.slots[r].size(), 0);

  // A source's order is (expert, canonical order), and an expert's shares are runs of it.
  route.segments.reserve(split.shares.size());
  for (const Share& share : split.shares) {
    int64_t& sent = route.source_rows[share.source.index()];
    route.segments.push_back({.source = share.source,
                              .host = share.host,
                              .slot = share.slot,
                              .expert = share.expert,
                              .rows = share.count,
                              .source_offset = sent,
                              .host_offset = 0});
    sent += share.count;
    route.slot_rows[share.host.index()][share.slot] += share.count;
    route.host_rows[share.host.index()] += share.count;
  }

  // A host's order is (slot, source): the segments come by rising source already.
  std::vector<size_t> first;  // [rank] where its slots begin in `next`
  std::vector<int64_t> next;
  for (int r = 0; r < ranks; ++r) {
    first.push_back(next.size());
    int64_t offset = 0;
    for (int64_t rows : route.slot_rows[r]) {
      next.push_back(offset);
      offset += rows;
    }
  }
  for (RouteSegment& segment : route.segments) {
    int64_t& offset = next[first[segment.host.index()] + static_cast<size_t>(segment.slot)];
    segment.host_offset = offset;
    offset += segment.rows;
  }
  return route;
}

absl::Status ComputeRoute(const CountMatrix& counts, const LayerPlan& layer, int experts,
                          const std::vector<uint32_t>& speeds, const Topology& topology,
                          const std::vector<char>& wanted, SplitWorkspace& work, Split& split, Route& route) {
  BALLAST_RETURN_IF_ERROR(DivideTokens(counts, layer, experts, speeds, topology, wanted, work, split));
  const Copies& copies = work.copies;
  const std::vector<int64_t>& rows = work.dealer.rows();
  const size_t ranks = layer.slots.size();
  route.ranks = static_cast<int>(ranks);
  route.hash = split.hash;
  route.source_rows.assign(ranks, 0);
  route.host_rows.assign(ranks, 0);
  route.slot_rows.resize(ranks);
  for (size_t r = 0; r < ranks; ++r) route.slot_rows[r].assign(layer.slots[r].size(), 0);
  for (size_t c = 0; c < rows.size(); ++c) route.slot_rows[copies.rank[c]][copies.slot[c]] = rows[c];
  // Where each copy's next segment begins on its host: at first where its slot does, for which the slots'
  // rows make place for a moment.
  for (size_t r = 0; r < ranks; ++r) {
    for (size_t i = 0; i < layer.slots[r].size(); ++i) {
      if (layer.slots[r][i]) route.host_rows[r] += std::exchange(route.slot_rows[r][i], route.host_rows[r]);
    }
  }
  work.heads.resize(rows.size());
  SplitWorkspace::Head* const heads = work.heads.data();
  for (size_t c = 0; c < rows.size(); ++c)
    heads[c] = {copies.rank[c], copies.slot[c], 0,
                std::exchange(route.slot_rows[copies.rank[c]][copies.slot[c]], rows[c])};
  for (int e = 0; e < copies.experts(); ++e) {
    for (int c = copies.begin[e]; c < copies.begin[e + 1]; ++c) heads[c].expert = e;
  }

  // Segments are many, so each is written once, at a place that the one before it decides: all of them
  // anyhow, and those that are empty written over. Hence one more.
  const size_t segments = work.dealer.shares();
  route.segments.resize(segments + 1);
  RouteSegment* segment = route.segments.data();
  Rank source;
  int64_t sent = 0;
  work.dealer.ForEach(
      [&](int rank) {
        if (rank > 0) route.source_rows[source.index()] = sent;
        source = Rank(rank);
        sent = 0;
      },
      [&](int copy, int, int64_t count) {
        SplitWorkspace::Head& head = heads[copy];
        *segment = {.source = source,
                    .host = Rank(head.host),
                    .slot = head.slot,
                    .expert = ExpertId(head.expert),
                    .rows = count,
                    .source_offset = sent,
                    .host_offset = head.next};
        segment += count != 0;
        sent += count;
        head.next += count;
      });
  route.source_rows[source.index()] = sent;
  route.segments.resize(segments);
  return absl::OkStatus();
}

absl::Status CheckConserved(const Route& route, const Split& split, const CountMatrix& counts,
                            const std::vector<int64_t>& expert_tokens, const std::vector<char>& wanted) {
  for (size_t r = 0; r < counts.size(); ++r) {
    if (!wanted[r]) continue;
    if (route.source_rows[r] != Sum(counts[r])) {
      return absl::InternalError(absl::StrCat("rank ", r, " routes ", Sum(counts[r]),
                                              " assignments and sends ", route.source_rows[r]));
    }
    if (route.host_rows[r] != split.rank_tokens[r] || route.host_rows[r] != Sum(route.slot_rows[r])) {
      return absl::InternalError(absl::StrCat("rank ", r, " computes ", split.rank_tokens[r],
                                              " assignments, receives ", route.host_rows[r], " and has ",
                                              Sum(route.slot_rows[r]), " in its slots"));
    }
  }
  if (Sum(expert_tokens) != Sum(split.rank_tokens)) {
    return absl::InternalError(
        absl::StrCat(Sum(expert_tokens), " assignments routed, ", Sum(split.rank_tokens), " computed"));
  }
  return absl::OkStatus();
}

std::vector<int64_t> ExpertTokens(const CountMatrix& counts) {
  std::vector<int64_t> tokens(counts[0].size(), 0);
  for (const auto& row : counts) {
    for (size_t e = 0; e < row.size(); ++e) tokens[e] += row[e];
  }
  return tokens;
}

}  // namespace ballast
