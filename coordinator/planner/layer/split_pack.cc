#include "coordinator/planner/layer/split_pack.h"

#include <algorithm>
#include <numeric>

#include "base/check.h"
#include "base/rng.h"
#include "coordinator/planner/layer/bounds.h"

namespace ballast {
namespace {

// What is left to place, rising by load.
struct Item {
  double load = 0;
  int expert = 0;
  friend auto operator<=>(const Item&, const Item&) = default;
};

// Takes from `items` what rank `row` is to hold under `capacity`.
void FillRank(std::vector<Item>& items, double capacity, std::vector<int>& row) {
  const size_t slots = std::min(row.size(), items.size());
  if (slots == 0) return;
  double sum = 0;
  for (size_t i = 0; i < slots; ++i) sum += items[i].load;
  size_t first = 0;
  size_t count = slots;
  if (sum >= capacity) {  // even the smallest are enough: fewer of them
    sum = 0;
    count = 0;
    while (sum < capacity) sum += items[count++].load;
  } else {
    while (sum < capacity && first + count < items.size()) {
      sum += items[first + count].load - items[first].load;
      ++first;
    }
  }
  const size_t last = first + count - 1;
  double whole = 0;
  for (size_t i = first; i < last; ++i) whole += items[i].load;
  for (size_t i = 0; i < count; ++i) row[i] = items[first + i].expert;
  Item rest{items[last].load - (capacity - whole), items[last].expert};
  items.erase(items.begin() + static_cast<std::ptrdiff_t>(first),
              items.begin() + static_cast<std::ptrdiff_t>(last + 1));
  if (rest.load <= 1e-9 * capacity) return;
  items.insert(std::lower_bound(items.begin(), items.end(), rest), rest);
}

// Ranks by falling capacity per slot: those that need large experts choose first.
std::vector<int> RankOrder(const LayerTask& task) {
  std::vector<int> order;
  for (int g = 0; g < task.ranks(); ++g) {
    if (task.slots[g] > 0) order.push_back(g);
  }
  const auto larger = [&](int a, int b) {
    return static_cast<uint64_t>(task.speeds[a]) * static_cast<uint64_t>(task.slots[b]) >
           static_cast<uint64_t>(task.speeds[b]) * static_cast<uint64_t>(task.slots[a]);
  };
  if (!std::is_sorted(order.begin(), order.end(), larger))
    std::stable_sort(order.begin(), order.end(), larger);
  return order;
}

}  // namespace

std::optional<SlotTable> SplitPackAt(const LayerTask& task, double bound) {
  // Experts without tokens need a slot too; a trifle of load lets the window see them.
  const double trifle =
      1e-6 * std::max(1.0, static_cast<double>(task.total_load()) / static_cast<double>(task.experts()));
  std::vector<Item> items;
  items.reserve(task.load.size());
  for (int e = 0; e < task.experts(); ++e) items.push_back({static_cast<double>(task.load[e]) + trifle, e});
  std::sort(items.begin(), items.end());
  const double trifles = trifle * task.experts() / static_cast<double>(task.usable_speed());
  SlotTable table = EmptyTable(task);
  for (int g : RankOrder(task)) {
    if (items.empty()) break;
    FillRank(items, (bound + trifles) * (1 + 1e-9) * task.speeds[g], table[g]);
  }
  if (!items.empty()) return std::nullopt;
  return table;
}

SlotTable SplitPack(const LayerTask& task, double tolerance) {
  double low = std::max(SlotBound(task), 1e-9) * (1 + tolerance);
  if (std::optional<SlotTable> table = SplitPackAt(task, low)) return *std::move(table);
  // Under a capacity that no load reaches, every rank takes a whole slotful.
  double high = low;
  std::optional<SlotTable> best;
  while (!best) {
    BALLAST_CHECK(high < 1e30) << "SplitPack finds no place for " << task.experts() << " experts";
    low = high;
    high *= 1.1;
    best = SplitPackAt(task, high);
  }
  for (int i = 0; i < 25 && high - low > 1e-4 * low; ++i) {
    const double middle = (low + high) / 2;
    if (std::optional<SlotTable> table = SplitPackAt(task, middle)) {
      best = std::move(table);
      high = middle;
    } else {
      low = middle;
    }
  }
  return *std::move(best);
}

SlotTable SplitPackFilled(const LayerTask& task, uint64_t seed) {
  LayerTask less = task;
  int ranks = 0;
  for (int& slots : less.slots) {
    ranks += slots > 1;
    slots = std::max(std::min(slots, 1), slots - 1);
  }
  if (less.spare_slots() < ranks) return SplitPack(task);
  SlotTable table = SplitPack(less);
  for (size_t g = 0; g < table.size(); ++g) table[g].resize(static_cast<size_t>(task.slots[g]), kNoExpert);
  std::vector<int> copies = CopiesOf(table, task.experts());
  std::vector<size_t> order(table.size());
  std::iota(order.begin(), order.end(), size_t{0});
  Rng rng(seed);
  for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[rng.Below(i)]);
  std::vector<Item> hottest;  // by -load per copy, rising
  const auto key = [&](int e) { return Item{-static_cast<double>(task.load[e]) / copies[e], e}; };
  for (int e = 0; e < task.experts(); ++e) hottest.push_back(key(e));
  std::sort(hottest.begin(), hottest.end());
  for (size_t g : order) {
    const auto slot = std::find(table[g].begin(), table[g].end(), kNoExpert);
    if (slot == table[g].end()) continue;
    const auto wanted = std::find_if(hottest.begin(), hottest.end(), [&](const Item& item) {
      return item.load >= 0 || !Holds(table[g], item.expert);
    });
    if (wanted == hottest.end() || wanted->load >= 0) continue;
    *slot = wanted->expert;
    ++copies[*slot];
    // One more copy: it goes to its place among colder ones.
    const Item colder = key(*slot);
    const auto place = std::lower_bound(wanted + 1, hottest.end(), colder);
    std::copy(wanted + 1, place, wanted);
    *(place - 1) = colder;
  }
  return table;
}

SlotTable DropUnneeded(const LayerTask& task, SlotTable table, double bound) {
  const double allowed = std::max(bound, PlacedBound(task, table)) * (1 + 1e-9);
  std::vector<int> copies = CopiesOf(table, task.experts());
  struct Copy {
    double load;
    size_t rank, index;
  };
  std::vector<Copy> extra;
  for (size_t g = 0; g < table.size(); ++g) {
    for (size_t i = 0; i < table[g].size(); ++i) {
      const int e = table[g][i];
      if (e != kNoExpert && copies[e] > 1)
        extra.push_back({static_cast<double>(task.load[e]) / copies[e], g, i});
    }
  }
  std::stable_sort(extra.begin(), extra.end(), [](const Copy& a, const Copy& b) { return a.load < b.load; });
  for (const Copy& copy : extra) {
    const int e = table[copy.rank][copy.index];
    if (copies[e] == 1) continue;
    table[copy.rank][copy.index] = kNoExpert;
    if (PlacedBound(task, table) <= allowed) {
      --copies[e];
    } else {
      table[copy.rank][copy.index] = e;
    }
  }
  return table;
}

}  // namespace ballast
