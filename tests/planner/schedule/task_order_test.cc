#include "coordinator/planner/schedule/task_order.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <iostream>
#include <limits>
#include <string>
#include <vector>

#include "base/rng.h"
#include "coordinator/planner/schedule/best_order.h"

namespace ballast {
namespace {

// Compressing and decompressing take at most `share` of an exchange, or there is no compression.
LayerTasks RandomTasks(Rng& rng, bool with_starts, double share = 0.5) {
  LayerTasks tasks;
  tasks.dispatch.work = 0.05 + rng.Uniform() * (rng.Chance(0.3) ? 5 : 1);
  tasks.combine.work = tasks.dispatch.work * (rng.Chance(0.5) ? 1 : 0.5 + rng.Uniform());
  tasks.experts.work = 0.05 + rng.Uniform() * (rng.Chance(0.3) ? 5 : 1);
  const double both =
      rng.Chance(0.2) ? 0 : rng.Uniform() * std::min(tasks.dispatch.work, tasks.combine.work) * share;
  tasks.compress.work = both * rng.Uniform();
  tasks.decompress.work = both - tasks.compress.work;
  if (!with_starts) return tasks;
  for (ChunkedTask* task : {&tasks.dispatch, &tasks.experts, &tasks.combine})
    task->start = 0.02 * rng.Uniform();
  return tasks;
}

// By a simulation that knows nothing of the order's closed form: tasks in order of their stream, each when
// the one before it and its own chunk's are done.
double Simulated(const LayerTasks& tasks, int chunks, bool overlap) {
  const std::array<double, 5> length = {tasks.compress.At(chunks), tasks.dispatch.At(chunks),
                                        tasks.experts.At(chunks), tasks.combine.At(chunks),
                                        tasks.decompress.At(chunks)};
  double free[2] = {0, 0};
  std::vector<std::array<double, 6>> end(static_cast<size_t>(chunks), std::array<double, 6>{});
  for (size_t kind = 0; kind < 5; ++kind) {
    for (auto& ends : end) {
      double& stream = free[overlap && (kind == 1 || kind == 3) ? 1 : 0];
      stream = std::max(stream, ends[kind]) + length[kind];
      ends[kind + 1] = stream;
    }
  }
  return std::max(free[0], free[1]);
}

// The shortest time over every order of both streams, chunks in order within a kind. Depth first: at each
// node one more task is put on a stream at the time at which it can start there.
class Exhaustive {
 public:
  Exhaustive(const LayerTasks& tasks, int chunks)
      : chunks_(chunks),
        length_{tasks.compress.At(chunks), tasks.dispatch.At(chunks), tasks.experts.At(chunks),
                tasks.combine.At(chunks), tasks.decompress.At(chunks)} {
    for (auto& ends : end_) ends.assign(static_cast<size_t>(chunks), 0);
    for (size_t kind = 0; kind < 5; ++kind) left_[kind % 2] += length_[kind] * chunks;
  }
  // `known`: a time that some order reaches.
  double Best(double known) {
    best_ = known;
    Search(0, 0, 0);
    return best_;
  }

 private:
  // Tasks are put in the order of their starts, so that every schedule is met once.
  void Search(double compute, double communication, double last) {
    if (std::max(compute + left_[0], communication + left_[1]) >= best_) return;
    bool any = false;
    for (size_t kind = 0; kind < 5; ++kind) {
      const size_t chunk = next_[kind];
      if (chunk == static_cast<size_t>(chunks_)) continue;
      any = true;
      if (kind > 0 && next_[kind - 1] <= chunk) continue;  // its own chunk is not that far
      const bool sends = kind % 2 == 1;
      const double start = std::max(sends ? communication : compute, kind > 0 ? end_[kind - 1][chunk] : 0);
      if (start < last) continue;
      end_[kind][chunk] = start + length_[kind];
      ++next_[kind];
      left_[kind % 2] -= length_[kind];
      Search(sends ? compute : end_[kind][chunk], sends ? end_[kind][chunk] : communication, start);
      --next_[kind];
      left_[kind % 2] += length_[kind];
    }
    if (!any) best_ = std::max(compute, communication);
  }

  const int chunks_;
  const std::array<double, 5> length_;
  std::array<std::vector<double>, 5> end_;
  std::array<size_t, 5> next_{};
  std::array<double, 2> left_{};  // work not placed yet: of compute, of communication
  double best_ = 0;
};

TEST(TaskOrder, NoOrderIsShorterThanGrouped) {
  Rng rng(101);
  int equal = 0;
  double worst = 1;
  constexpr int kInstances = 1000;
  for (int i = 0; i < kInstances; ++i) {
    const LayerTasks tasks = RandomTasks(rng, i % 2 == 1);
    const int chunks = 1 + i % 4;
    const double best = Exhaustive(tasks, chunks).Best(Simulated(tasks, chunks, true)),
                 grouped = GroupedTime(tasks, chunks, true);
    EXPECT_GE(grouped, best * (1 - 1e-9)) << "instance " << i << ", no order of its kind";
    EXPECT_LE(ScheduleBound(tasks, chunks), best * (1 + 1e-9)) << "instance " << i;
    worst = std::max(worst, grouped / best);
    equal += grouped <= best * (1 + 1e-9);
  }
  std::cout << "grouped is the shortest in " << equal << " of " << kInstances << ", at worst " << worst
            << " times it\n";
  EXPECT_EQ(equal, kInstances);
}

// When the last task of these orders ends, by a simulation of both streams that knows nothing of the search.
double Played(const LayerTasks& tasks, int chunks, const TaskOrder& order) {
  const std::string letters = "CABXF";
  const std::array<double, 5> length = {tasks.compress.At(chunks), tasks.dispatch.At(chunks),
                                        tasks.experts.At(chunks), tasks.combine.At(chunks),
                                        tasks.decompress.At(chunks)};
  const std::string* streams[2] = {&order.compute, &order.communication};
  size_t at[2] = {0, 0};
  double free[2] = {0, 0};
  // [kind + 1][chunk]; before the first kind nothing is waited for.
  std::vector<std::vector<double>> ends(6);
  ends[0].assign(static_cast<size_t>(chunks), 0);
  for (bool moved = true; moved;) {
    moved = false;
    for (int stream : {0, 1}) {
      while (at[stream] < streams[stream]->size()) {
        const size_t kind = letters.find((*streams[stream])[at[stream]]), chunk = ends[kind + 1].size();
        if (ends[kind].size() <= chunk) break;  // waits for the other stream
        free[stream] = std::max(free[stream], ends[kind][chunk]) + length[kind];
        ends[kind + 1].push_back(free[stream]);
        ++at[stream];
        moved = true;
      }
    }
  }
  for (const std::vector<double>& end : ends) EXPECT_EQ(end.size(), static_cast<size_t>(chunks)) << "stuck";
  return std::max(free[0], free[1]);
}

TEST(TaskOrder, BestOrderIsTheShortestForAnyShareOfCompression) {
  const uint64_t seed = 103;
  SCOPED_TRACE(seed);
  Rng rng(seed);
  int shorter = 0;
  double most = 1;
  for (int i = 0; i < 1000; ++i) {
    const LayerTasks tasks = RandomTasks(rng, i % 2 == 1, 4 * rng.Uniform());
    const int chunks = 1 + i / 2 % 4;
    const double grouped = GroupedTime(tasks, chunks, true);
    const TaskOrder order = BestOrder(tasks, chunks);
    EXPECT_TRUE(order.proved) << "instance " << i;
    EXPECT_NEAR(order.time, Exhaustive(tasks, chunks).Best(grouped), 1e-9 * order.time) << "instance " << i;
    EXPECT_NEAR(order.time, Played(tasks, chunks, order), 1e-9 * order.time)
        << "instance " << i << ": " << order.compute << ", " << order.communication;
    shorter += order.time < grouped * (1 - 1e-9);
    most = std::max(most, grouped / order.time);
  }
  std::cout << "another order than grouped is shorter in " << shorter << " of 1000, at most " << most
            << " times\n";
  EXPECT_GT(shorter, 20) << "the cases are too easy";
}

TEST(TaskOrder, BestOrderBeyondTheSearchIsGrouped) {
  const LayerTasks heavy{{0, 8}, {0, 2}, {0, 2}, {0, 2}, {0, 2}};
  for (int chunks : {1, 2, 3, 4, 5, 8}) {
    const TaskOrder order = BestOrder(heavy, chunks);
    EXPECT_LE(order.time, GroupedTime(heavy, chunks, true));
    EXPECT_GE(order.time, ScheduleBound(heavy, chunks) * (1 - 1e-12));
    if (chunks > kExactChunksMax) {
      EXPECT_EQ(order.time, GroupedTime(heavy, chunks, true));
    }
  }
  // Equal lengths make most orders alike: the bound on the search holds.
  EXPECT_TRUE(BestOrder({{0, 4}, {0, 4}, {0, 4}, {0, 4}, {0, 4}}, 4).proved);
  const TaskOrder nothing = BestOrder({}, 2);
  EXPECT_EQ(nothing.time, 0);
  EXPECT_EQ(nothing.compute, "CCBBFF");
}

TEST(TaskOrder, ChosenChunksAreNearTheBest) {
  Rng rng(102);
  std::vector<int> chosen(9, 0);
  for (int i = 0; i < 1000; ++i) {
    const LayerTasks tasks = RandomTasks(rng, true);
    for (bool overlap : {true, false}) {
      double best = std::numeric_limits<double>::infinity();
      for (int r = 1; r <= 8; ++r) {
        best = std::min(best, Simulated(tasks, r, overlap));
        EXPECT_NEAR(GroupedTime(tasks, r, overlap), Simulated(tasks, r, overlap), 1e-9);
      }
      const int r = ChooseChunks(tasks, 8, overlap);
      ASSERT_GE(r, 1);
      ASSERT_LE(r, 8);
      EXPECT_LE(Simulated(tasks, r, overlap), 1.02 * best) << "instance " << i;
      if (overlap) {
        ++chosen[static_cast<size_t>(r)];
      } else {
        EXPECT_EQ(r, 1) << "chunks gain nothing where nothing overlaps";
      }
    }
  }
  EXPECT_LT(chosen[1], 500) << "more than one chunk pays often";
  EXPECT_GT(chosen[2] + chosen[3], 0);
  EXPECT_GT(chosen[6] + chosen[7] + chosen[8], 0);
}

}  // namespace
}  // namespace ballast
