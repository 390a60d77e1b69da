#include "coordinator/planner/layer/relabel.h"

#include <algorithm>
#include <limits>
#include <map>
#include <tuple>

namespace ballast {
namespace {

constexpr size_t kFlatMax = 128;

int64_t Overlap(const std::vector<int>& a, const std::vector<int>& b) {
  int64_t common = 0;
  for (int e : a) common += e != kNoExpert && Holds(b, e);
  return common;
}

// The rows `bins` of `wanted` go to the ranks `ranks`: new_rank[bin] is filled in.
void Match(const SlotTable& current, const SlotTable& wanted, const std::vector<int>& bins,
           const std::vector<int>& ranks, std::vector<int>& new_rank) {
  std::vector<std::vector<int64_t>> gain(bins.size(), std::vector<int64_t>(ranks.size()));
  for (size_t i = 0; i < bins.size(); ++i) {
    for (size_t j = 0; j < ranks.size(); ++j) {
      // A row that could stay where it is does, when nothing else is lost by it.
      gain[i][j] = 2 * Overlap(wanted[bins[i]], current[ranks[j]]) * static_cast<int64_t>(ranks.size()) +
                   (bins[i] == ranks[j]);
    }
  }
  const std::vector<int> assigned = MaxAssignment(gain);
  for (size_t i = 0; i < bins.size(); ++i) new_rank[bins[i]] = ranks[assigned[i]];
}

// Runs of at most kFlatMax ranks exchange places as wholes, then ranks do within them.
void MatchInRuns(const SlotTable& current, const SlotTable& wanted, const std::vector<int>& ranks,
                 std::vector<int>& new_rank) {
  const size_t length = std::max<size_t>(1, (ranks.size() + kFlatMax - 1) / kFlatMax);
  const size_t runs = ranks.size() / length;  // the last run may be longer
  auto run = [&](size_t r) {
    const auto first = ranks.begin() + static_cast<std::ptrdiff_t>(r * length);
    return std::vector<int>(first, r + 1 == runs ? ranks.end() : first + static_cast<std::ptrdiff_t>(length));
  };
  std::vector<std::vector<int64_t>> gain(runs, std::vector<int64_t>(runs));
  for (size_t a = 0; a < runs; ++a) {
    for (size_t b = 0; b < runs; ++b) {
      // The last run's length differs; it stays.
      if ((a + 1 == runs) != (b + 1 == runs)) {
        gain[a][b] = -1'000'000;
        continue;
      }
      for (int bin : run(a)) {
        int64_t best = 0;
        for (int g : run(b)) best = std::max(best, Overlap(wanted[bin], current[g]));
        gain[a][b] += best;
      }
    }
  }
  const std::vector<int> assigned = MaxAssignment(gain);
  for (size_t a = 0; a < runs; ++a)
    Match(current, wanted, run(a), run(static_cast<size_t>(assigned[a])), new_rank);
}

}  // namespace

std::vector<int> MaxAssignment(const std::vector<std::vector<int64_t>>& gain) {
  const size_t n = gain.size();
  constexpr int64_t kFar = std::numeric_limits<int64_t>::max() / 4;
  // Rows and columns count from 1; column 0 holds the row that is being assigned.
  std::vector<int64_t> row_potential(n + 1, 0), column_potential(n + 1, 0);
  std::vector<size_t> row_of(n + 1, 0), before(n + 1, 0);
  for (size_t row = 1; row <= n; ++row) {
    row_of[0] = row;
    std::vector<int64_t> distance(n + 1, kFar);
    std::vector<char> done(n + 1, 0);
    size_t column = 0;
    do {
      done[column] = 1;
      const size_t r = row_of[column];
      int64_t least = kFar;
      size_t next = 0;
      for (size_t c = 1; c <= n; ++c) {
        if (done[c]) continue;
        const int64_t reduced = -gain[r - 1][c - 1] - row_potential[r] - column_potential[c];
        if (reduced < distance[c]) {
          distance[c] = reduced;
          before[c] = column;
        }
        if (distance[c] < least) {
          least = distance[c];
          next = c;
        }
      }
      for (size_t c = 0; c <= n; ++c) {
        if (done[c]) {
          row_potential[row_of[c]] += least;
          column_potential[c] -= least;
        } else {
          distance[c] -= least;
        }
      }
      column = next;
    } while (row_of[column] != 0);
    for (; column != 0; column = before[column]) row_of[column] = row_of[before[column]];
  }
  std::vector<int> assigned(n, 0);
  for (size_t c = 1; c <= n; ++c) assigned[row_of[c] - 1] = static_cast<int>(c) - 1;
  return assigned;
}

SlotTable Relabel(const LayerTask& task, const SlotTable& current, const SlotTable& wanted,
                  bool within_nodes) {
  std::map<std::tuple<int, uint32_t, int>, std::vector<int>> classes;  // ranks that may exchange rows
  for (int g = 0; g < task.ranks(); ++g) {
    classes[{task.slots[g], task.speeds[g], within_nodes ? task.node_of_rank[g] : 0}].push_back(g);
  }
  std::vector<int> new_rank(wanted.size(), 0);
  for (const auto& [kind, ranks] : classes) {
    if (ranks.size() <= kFlatMax) {
      Match(current, wanted, ranks, ranks, new_rank);
    } else {
      MatchInRuns(current, wanted, ranks, new_rank);
    }
  }
  SlotTable moved(wanted.size());
  for (size_t bin = 0; bin < wanted.size(); ++bin) moved[new_rank[bin]] = wanted[bin];
  return KeepIndices(current, moved);
}

}  // namespace ballast
