#include "coordinator/planner/layer/layer_task.h"

#include <algorithm>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "plan/apportion.h"
#include "plan/balance.h"
#include "plan/contiguous.h"

namespace ballast {
namespace {

absl::Status Invalid(const std::string& what) { return absl::InvalidArgumentError(what); }

constexpr int kSlotsMax = 1 << 16;

Copies CopiesIn(const SlotTable& table, int experts) {
  Copies copies;
  copies.begin.assign(static_cast<size_t>(experts) + 1, 0);
  for (const std::vector<int>& row : table) {
    for (int e : row) {
      if (e != kNoExpert) ++copies.begin[static_cast<size_t>(e) + 1];
    }
  }
  for (size_t e = 0; e < static_cast<size_t>(experts); ++e) copies.begin[e + 1] += copies.begin[e];
  copies.rank.resize(static_cast<size_t>(copies.begin.back()));
  std::vector<int32_t> next(copies.begin.begin(), copies.begin.end() - 1);
  for (size_t g = 0; g < table.size(); ++g) {
    for (int e : table[g]) {
      if (e != kNoExpert) copies.rank[static_cast<size_t>(next[e]++)] = static_cast<int32_t>(g);
    }
  }
  return copies;
}

}  // namespace

int LayerTask::nodes() const {
  return node_of_rank.empty() ? 0 : *std::max_element(node_of_rank.begin(), node_of_rank.end()) + 1;
}

int64_t LayerTask::total_load() const { return std::accumulate(load.begin(), load.end(), int64_t{0}); }

int LayerTask::spare_slots() const { return std::accumulate(slots.begin(), slots.end(), 0) - experts(); }

int64_t LayerTask::usable_speed() const {
  int64_t sum = 0;
  for (int g = 0; g < ranks(); ++g) sum += slots[g] > 0 ? speeds[g] : 0;
  return sum;
}

absl::Status CheckTask(const LayerTask& task) {
  if (task.load.empty()) return Invalid("layer: found 0 experts, allowed is 1 or more");
  if (task.slots.empty() || task.slots.size() > static_cast<size_t>(kRanksMax)) {
    return Invalid(absl::StrCat("layer: found ", task.slots.size(), " ranks, allowed is 1..", kRanksMax));
  }
  if (task.speeds.size() != task.slots.size() || task.node_of_rank.size() != task.slots.size()) {
    return Invalid(absl::StrCat("layer: found ", task.speeds.size(), " speeds and ", task.node_of_rank.size(),
                                " nodes for ", task.slots.size(), " ranks"));
  }
  int64_t sum = 0;
  for (size_t e = 0; e < task.load.size(); ++e) {
    if (task.load[e] < 0 || task.load[e] > kTokensMax - sum) {
      return Invalid(absl::StrCat("load of expert ", e, ": found ", task.load[e],
                                  ", allowed is 0 or more and at most ", kTokensMax, " in all"));
    }
    sum += task.load[e];
  }
  int64_t places = 0;  // a rank has no use for more slots than experts
  std::vector<char> node_seen(task.slots.size(), 0);
  for (size_t g = 0; g < task.slots.size(); ++g) {
    if (task.slots[g] < 0 || task.slots[g] > kSlotsMax) {
      return Invalid(
          absl::StrCat("slots of rank ", g, ": found ", task.slots[g], ", allowed is 0..", kSlotsMax));
    }
    if (task.speeds[g] == 0) return Invalid(absl::StrCat("speed of rank ", g, ": found 0, allowed above 0"));
    if (task.node_of_rank[g] < 0 || task.node_of_rank[g] >= static_cast<int>(task.slots.size())) {
      return Invalid(absl::StrCat("node of rank ", g, ": found ", task.node_of_rank[g], ", allowed is 0..",
                                  task.slots.size() - 1));
    }
    node_seen[task.node_of_rank[g]] = 1;
    places += std::min(task.slots[g], task.experts());
  }
  for (int n = 0; n < task.nodes(); ++n) {
    if (!node_seen[n]) return Invalid(absl::StrCat("node ", n, " has no rank"));
  }
  if (places < task.experts()) {
    return Invalid(absl::StrCat("slots: found ", places, ", which cannot hold ", task.experts(), " experts"));
  }
  return absl::OkStatus();
}

LayerTask UniformTask(std::vector<int64_t> load, int ranks, int slots_per_rank, int ranks_per_node) {
  LayerTask task;
  task.load = std::move(load);
  task.slots.assign(static_cast<size_t>(ranks), slots_per_rank);
  task.speeds.assign(static_cast<size_t>(ranks), 1 << 16);
  for (int g = 0; g < ranks; ++g) task.node_of_rank.push_back(g / ranks_per_node);
  return task;
}

absl::Status CheckTable(const LayerTask& task, const SlotTable& table) {
  if (table.size() != task.slots.size()) {
    return Invalid(absl::StrCat("slots: found ", table.size(), " ranks, allowed is ", task.slots.size()));
  }
  std::vector<int> copies(task.load.size(), 0);
  for (size_t g = 0; g < table.size(); ++g) {
    if (table[g].size() != static_cast<size_t>(task.slots[g])) {
      return Invalid(
          absl::StrCat("slots of rank ", g, ": found ", table[g].size(), ", allowed is ", task.slots[g]));
    }
    for (size_t i = 0; i < table[g].size(); ++i) {
      const int e = table[g][i];
      if (e == kNoExpert) continue;
      if (e < 0 || e >= task.experts()) {
        return Invalid(absl::StrCat("slot ", i, " of rank ", g, ": found expert ", e, ", allowed is 0..",
                                    task.experts() - 1));
      }
      if (std::count(table[g].begin(), table[g].end(), e) > 1) {
        return Invalid(absl::StrCat("rank ", g, " holds expert ", e, " twice"));
      }
      ++copies[e];
    }
  }
  for (size_t e = 0; e < copies.size(); ++e) {
    if (copies[e] == 0) return Invalid(absl::StrCat("expert ", e, " has no slot"));
  }
  return absl::OkStatus();
}

SlotTable EmptyTable(const LayerTask& task) {
  SlotTable table;
  for (int slots : task.slots) table.emplace_back(static_cast<size_t>(slots), kNoExpert);
  return table;
}

SlotTable ContiguousTable(const LayerTask& task) {
  SlotTable table = EmptyTable(task);
  std::vector<size_t> used(table.size(), 0);
  std::vector<int> left_over;
  for (int e = 0; e < task.experts(); ++e) {
    const size_t g = ContiguousRank(e, task.experts(), task.ranks()).index();
    if (used[g] < table[g].size()) {
      table[g][used[g]++] = e;
    } else {
      left_over.push_back(e);
    }
  }
  size_t g = 0;
  for (int e : left_over) {
    while (used[g] == table[g].size()) ++g;
    table[g][used[g]++] = e;
  }
  return table;
}

std::vector<std::vector<Rank>> HostsOf(const SlotTable& table, int experts) {
  std::vector<std::vector<Rank>> hosts(static_cast<size_t>(experts));
  for (size_t g = 0; g < table.size(); ++g) {
    for (int e : table[g]) {
      if (e != kNoExpert) hosts[e].push_back(Rank(static_cast<int32_t>(g)));
    }
  }
  return hosts;
}

std::vector<int> CopiesOf(const SlotTable& table, int experts) {
  std::vector<int> copies(static_cast<size_t>(experts), 0);
  for (const std::vector<int>& row : table) {
    for (int e : row) {
      if (e != kNoExpert) ++copies[e];
    }
  }
  return copies;
}

bool Holds(const std::vector<int>& row, int expert) {
  return std::find(row.begin(), row.end(), expert) != row.end();
}

int CountWrites(const std::vector<int>& from, const std::vector<int>& to) {
  int writes = 0;
  for (int e : to) writes += e != kNoExpert && !Holds(from, e);
  return writes;
}

int CountWrites(const SlotTable& from, const SlotTable& to) {
  int writes = 0;
  for (size_t g = 0; g < to.size(); ++g) writes += CountWrites(from[g], to[g]);
  return writes;
}

std::vector<int> KeepIndices(const std::vector<int>& current, const std::vector<int>& wanted) {
  std::vector<int> row(wanted.size(), kNoExpert);
  for (size_t i = 0; i < std::min(current.size(), row.size()); ++i) {
    if (current[i] != kNoExpert && Holds(wanted, current[i])) row[i] = current[i];
  }
  size_t i = 0;
  for (int e : wanted) {
    if (e == kNoExpert || Holds(row, e)) continue;
    while (row[i] != kNoExpert) ++i;
    row[i] = e;
  }
  return row;
}

SlotTable KeepIndices(const SlotTable& current, const SlotTable& wanted) {
  BALLAST_CHECK(current.size() == wanted.size()) << current.size() << " ranks, " << wanted.size();
  SlotTable next;
  next.reserve(wanted.size());
  for (size_t g = 0; g < wanted.size(); ++g) next.push_back(KeepIndices(current[g], wanted[g]));
  return next;
}

double PlacedBound(const LayerTask& task, const SlotTable& table) {
  return PlacedBound(task, CopiesIn(table, task.experts()));
}

double PlacedBound(const LayerTask& task, const Copies& copies) {
  const std::vector<int64_t> quotas = BalanceCopies(task.load, copies, task.speeds, nullptr);
  std::vector<int64_t> tokens(task.slots.size(), 0);
  for (size_t c = 0; c < quotas.size(); ++c) tokens[copies.rank[c]] += quotas[c];
  double most = 0;
  for (size_t g = 0; g < tokens.size(); ++g) {
    most = std::max(most, static_cast<double>(tokens[g]) / task.speeds[g]);
  }
  return most;
}

std::vector<std::vector<uint32_t>> FractionsOf(const SlotTable& table,
                                               const std::vector<std::vector<int64_t>>& weights) {
  std::vector<std::vector<int64_t>> parts;
  for (std::vector<int64_t> weight : weights) {
    if (std::accumulate(weight.begin(), weight.end(), int64_t{0}) == 0) {
      std::fill(weight.begin(), weight.end(), 1);
    }
    parts.push_back(weight.empty() ? std::vector<int64_t>() : Apportion(1 << 16, weight));
  }
  std::vector<std::vector<uint32_t>> fractions;
  std::vector<size_t> next(weights.size(), 0);
  for (const std::vector<int>& row : table) {
    fractions.emplace_back();
    for (int e : row) {
      fractions.back().push_back(e == kNoExpert ? 0 : static_cast<uint32_t>(parts[e][next[e]++]));
    }
  }
  return fractions;
}

SlotTable TableOf(const LayerPlan& layer) {
  SlotTable table;
  for (const std::vector<Slot>& row : layer.slots) {
    table.emplace_back();
    for (const Slot& slot : row) table.back().push_back(slot ? slot->value() : kNoExpert);
  }
  return table;
}

std::vector<std::vector<Slot>> SlotsOf(const SlotTable& table) {
  std::vector<std::vector<Slot>> slots;
  for (const std::vector<int>& row : table) {
    slots.emplace_back();
    for (int e : row) slots.back().push_back(e == kNoExpert ? Slot() : Slot(ExpertId(e)));
  }
  return slots;
}

}  // namespace ballast
