#include "sim/route_checker.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/rng.h"
#include "plan/split.h"
#include "sim/violation.h"

namespace ballast::sim {
namespace {

[[noreturn]] void Fail(Step step, const std::string& what) {
  throw Violation("I5", absl::StrCat("step ", step.value(), ": ", what));
}

std::string Text(const RouteSegment& segment) {
  return absl::StrCat(segment.rows, " rows of expert ", segment.expert.value(), " in slot ", segment.slot);
}

// What the rank has to send and to compute, beside its own counts and slots.
void CheckOwn(Step step, Rank rank, const Route& route, const std::vector<int64_t>& counts,
              const std::vector<Slot>& slots) {
  std::vector<int64_t> sent(counts.size(), 0);
  int64_t offset = 0;
  for (const RouteSegment& segment : route.segments) {
    if (segment.source == rank) {
      if (segment.source_offset != offset) {
        Fail(step, absl::StrCat("rank ", rank.value(), " sends from row ", segment.source_offset,
                                " behind row ", offset));
      }
      offset += segment.rows;
      sent[segment.expert.index()] += segment.rows;
    }
    if (segment.host != rank) continue;
    const size_t slot = static_cast<size_t>(segment.slot);
    if (slot < slots.size() && slots[slot] == Slot(segment.expert)) continue;
    Fail(step, absl::StrCat("rank ", rank.value(), " receives ", Text(segment), ", which holds ",
                            slot < slots.size() && slots[slot] ? absl::StrCat("expert ", slots[slot]->value())
                                                               : "none"));
  }
  if (sent != counts) Fail(step, absl::StrCat("rank ", rank.value(), " does not send what it routes"));
}

// What `teller` says of the rows from `source` to `host`; nothing behind the last.
class Rows {
 public:
  Rows(const Route& teller, Rank source, Rank host) : all_(teller.segments), source_(source), host_(host) {}
  const RouteSegment* Next() {
    while (next_ < all_.size()) {
      const RouteSegment& segment = all_[next_++];
      if (segment.source == source_ && segment.host == host_) return &segment;
    }
    return nullptr;
  }

 private:
  const std::vector<RouteSegment>& all_;
  const Rank source_, host_;
  size_t next_ = 0;
};

void CheckPair(Step step, Rank source, const Route& sends, Rank host, const Route& expects) {
  Rows sent(sends, source, host), expected(expects, source, host);
  while (true) {
    const RouteSegment* a = sent.Next();
    const RouteSegment* b = expected.Next();
    if (a == nullptr && b == nullptr) return;
    if (a != nullptr && b != nullptr && a->expert == b->expert && a->slot == b->slot && a->rows == b->rows)
      continue;
    Fail(step, absl::StrCat("rank ", source.value(), " sends ", a != nullptr ? Text(*a) : "nothing more",
                            " to rank ", host.value(), ", which expects ",
                            b != nullptr ? Text(*b) : "nothing more"));
  }
}

}  // namespace

RouteChecker::RouteChecker(uint64_t seed, const JobConfig& job)
    : seed_(seed),
      experts_(job.model.moe.experts),
      assignments_(static_cast<int64_t>(job.training.microbatch_sequences) * job.data.sequence_length *
                   job.model.moe.top_k) {}

// Half of a rank's assignments go to one expert, so that an expert's hosts share it and others have nothing.
CountMatrix RouteChecker::Draw(Step step, size_t layer, int ranks) const {
  CountMatrix counts;
  for (int r = 0; r < ranks; ++r) {
    Rng rng(HashSeed({seed_, 5, static_cast<uint64_t>(step.value()), layer, static_cast<uint64_t>(r)}));
    std::vector<int64_t>& row = counts.emplace_back(static_cast<size_t>(experts_), 0);
    const auto any = [&] { return rng.Below(static_cast<uint64_t>(experts_)); };
    const size_t hot = any();
    for (int64_t i = 0; i < assignments_; ++i) ++row[rng.Chance(0.5) ? hot : any()];
  }
  return counts;
}

void RouteChecker::OnRoute(const RunKey& run, Rank rank, Step step, const PlanBody& routed,
                           const PlanBody& filled, const Topology& topology) {
  const int ranks = topology.ranks();
  std::vector<char> wanted(static_cast<size_t>(ranks), 0);
  wanted[rank.index()] = 1;
  std::map<Step, std::vector<Routes>>& open = open_[run];
  std::vector<Routes>& layers = open.try_emplace(step, routed.layers.size()).first->second;
  bool all = true;
  for (size_t l = 0; l < layers.size(); ++l) {
    const LayerPlan& layer = routed.layers[l];
    const CountMatrix counts = Draw(step, l, ranks);
    Split split;
    Route route;
    const absl::Status made =
        ComputeRoute(counts, layer, experts_, routed.speeds, topology, wanted, split_work_, split, route);
    if (!made.ok()) Fail(step, absl::StrCat("rank ", rank.value(), ": ", made.ToString()));
    const absl::Status conserved = CheckConserved(route, split, counts, ExpertTokens(counts), wanted);
    if (!conserved.ok()) Fail(step, conserved.ToString());
    CheckOwn(step, rank, route, counts[rank.index()], filled.layers[l].slots[rank.index()]);

    Routes& routes = layers[l];
    routes.resize(static_cast<size_t>(ranks));
    routes[rank.index()] = std::move(route);
    const Route& own = routes[rank.index()];
    for (int other = 0; other < ranks; ++other) {
      const Route& theirs = routes[static_cast<size_t>(other)];
      all = all && theirs.ranks > 0;
      if (theirs.ranks == 0 || Rank(other) == rank) continue;
      CheckPair(step, rank, own, Rank(other), theirs);
      CheckPair(step, Rank(other), theirs, rank, own);
      if (theirs.hash == own.hash) continue;
      Fail(step, absl::StrCat("ranks ", rank.value(), " and ", other, " split the tokens differently"));
    }
    if (all) CheckAll(step, counts, routes);
  }
  if (all) open.erase(step);
}

void RouteChecker::CheckAll(Step step, const CountMatrix& counts, const Routes& routes) {
  CountMatrix computed(counts.size(), std::vector<int64_t>(static_cast<size_t>(experts_), 0));
  for (size_t host = 0; host < routes.size(); ++host) {
    for (const RouteSegment& segment : routes[host].segments) {
      if (segment.host.index() != host) continue;
      computed[segment.source.index()][segment.expert.index()] += segment.rows;
      figures_.assignments += segment.rows;
      if (segment.source != segment.host) figures_.travelled += segment.rows;
    }
  }
  if (computed != counts) Fail(step, "the ranks do not compute every assignment once");
  ++figures_.layers;
}

}  // namespace ballast::sim
