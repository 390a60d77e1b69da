#include "coordinator/planner/layer/slot_flow.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace ballast {

SlotFlow::SlotFlow(const LayerTask& task, SlotTable table, double bound)
    : table_(std::move(table)), left_(task.load), hosts_(task.load.size()) {
  const double total = static_cast<double>(task.total_load());
  for (int g = 0; g < task.ranks(); ++g) {
    const double capacity = std::floor(bound * task.speeds[g]);
    spare_.push_back(static_cast<int64_t>(std::min(capacity, total)));
    flow_.emplace_back(table_[g].size(), 0);
    for (size_t i = 0; i < table_[g].size(); ++i) {
      if (table_[g][i] != kNoExpert) hosts_[table_[g][i]].push_back({g, static_cast<int>(i)});
    }
  }
  for (int64_t load : left_) unrouted_ += load;
  Route();
}

void SlotFlow::Write(int rank, int index, int expert) {
  int& held = table_[rank][index];
  if (held != kNoExpert) {
    int64_t& carried = flow_[rank][index];
    left_[held] += carried;
    unrouted_ += carried;
    spare_[rank] += carried;
    carried = 0;
    std::vector<Place>& places = hosts_[held];
    places.erase(std::find_if(places.begin(), places.end(),
                              [&](const Place& p) { return p.rank == rank && p.index == index; }));
  }
  held = expert;
  if (expert != kNoExpert) hosts_[expert].push_back({rank, index});
  Route();
}

void SlotFlow::Route() {
  // Straight into spare room first: experts with one place, then the others.
  for (const bool single : {true, false}) {
    for (size_t e = 0; e < left_.size() && unrouted_ > 0; ++e) {
      if (left_[e] == 0 || (hosts_[e].size() == 1) != single) continue;
      for (const Place& p : hosts_[e]) {
        const int64_t amount = std::min(left_[e], spare_[p.rank]);
        if (amount <= 0) continue;
        flow_[p.rank][p.index] += amount;
        spare_[p.rank] -= amount;
        left_[e] -= amount;
        unrouted_ -= amount;
      }
    }
  }
  // Experts that a search in vain has seen reach full ranks alone, and no later path gets out of those.
  stuck_.assign(left_.size(), 0);
  for (size_t e = 0; e < left_.size() && unrouted_ > 0; ++e) {
    while (left_[e] > 0 && !stuck_[e] && Augment(static_cast<int>(e))) {
    }
  }
}

bool SlotFlow::Augment(int expert) {
  std::vector<Step>& step = step_;
  std::vector<char>& seen = seen_;
  std::vector<int>& queue = queue_;
  step.assign(spare_.size(), Step());
  seen.assign(left_.size(), 0);
  queue.clear();
  int end = -1;
  auto visit = [&](int e, int from_rank, int from_index) {
    seen[e] = 1;
    for (const Place& p : hosts_[e]) {
      if (step[p.rank].into >= 0) continue;
      step[p.rank] = {p.index, from_rank, from_index};
      queue.push_back(p.rank);
      if (spare_[p.rank] > 0) {
        end = p.rank;
        return;
      }
    }
  };
  visit(expert, -1, -1);
  for (size_t next = 0; end < 0 && next < queue.size(); ++next) {
    const int g = queue[next];
    for (size_t i = 0; i < table_[g].size() && end < 0; ++i) {
      const int e = table_[g][i];
      if (e == kNoExpert || seen[e] || stuck_[e] || flow_[g][i] == 0) continue;
      visit(e, g, static_cast<int>(i));
    }
  }
  if (end < 0) {
    for (size_t e = 0; e < seen.size(); ++e) stuck_[e] |= seen[e];
    return false;
  }
  int64_t amount = std::min(left_[expert], spare_[end]);
  for (int g = end; step[g].from_rank >= 0; g = step[g].from_rank) {
    amount = std::min(amount, flow_[step[g].from_rank][step[g].from_index]);
  }
  for (int g = end;; g = step[g].from_rank) {
    flow_[g][step[g].into] += amount;
    if (step[g].from_rank < 0) break;
    flow_[step[g].from_rank][step[g].from_index] -= amount;
  }
  spare_[end] -= amount;
  left_[expert] -= amount;
  unrouted_ -= amount;
  return true;
}

}  // namespace ballast
