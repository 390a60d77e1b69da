#include "coordinator/device_kind.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/rng.h"
#include "coordinator/core.h"
#include "coordinator/generation.h"
#include "coordinator/memory_store.h"
#include "gtest/gtest.h"
#include "protocol/version.h"
#include "tests/coordinator/small_job.h"

namespace ballast {
namespace {

WorkerEntry Worker(const std::string& name, const std::string& device, int ranks) {
  WorkerEntry worker;
  worker.hello.worker = WorkerId(name);
  worker.hello.device = device;
  worker.hello.ranks = ranks;
  worker.stream = StreamId(1);
  return worker;
}

std::vector<const WorkerEntry*> Pointers(const std::vector<WorkerEntry>& workers) {
  std::vector<const WorkerEntry*> pointers;
  for (const WorkerEntry& worker : workers) pointers.push_back(&worker);
  return pointers;
}

// Of a job of ranks_min..ranks that began on `own` (empty = it has not begun); empty = it is not placed.
std::vector<std::string> PlacedOn(const std::vector<WorkerEntry>& workers, int ranks_min, int ranks,
                                  const std::string& own) {
  auto config = SmallJob("a", ranks);
  config->placement.ranks_min = ranks_min;
  JobRecord record;
  record.config = config;
  record.device = own;
  JobEntry job(record, *ParameterLayout::Make(config->model, config->placement.block_elements),
               CoreOptions{});
  const std::optional<Placed> placed = Place(job, Pointers(workers));
  std::vector<std::string> names;
  if (placed.has_value()) {
    for (const Member& member : placed->members) names.push_back(member.worker.value());
  }
  return names;
}

using Names = std::vector<std::string>;

TEST(DeviceKind, IsWhatStandsBeforeTheColon) {
  EXPECT_EQ(DeviceKind(Worker("w", "cuda", 1).hello), "cuda");
  EXPECT_EQ(DeviceKind(Worker("w", "cuda:0,3", 1).hello), "cuda");
  EXPECT_EQ(DeviceKind(Worker("w", "cpu", 1).hello), "cpu");
  EXPECT_EQ(DeviceKind(Worker("w", "", 1).hello), "unknown");
}

TEST(DeviceKind, CudaComesFirstThenTheOthersByName) {
  const std::vector<WorkerEntry> workers = {Worker("a", "cpu", 1), Worker("b", "abacus", 2),
                                            Worker("c", "cuda:1", 4), Worker("d", "cpu", 8)};
  const std::vector<WorkersOfKind> kinds = ByKind(Pointers(workers), "");
  ASSERT_EQ(kinds.size(), 3u);
  EXPECT_EQ(kinds[0].kind, "cuda");
  EXPECT_EQ(kinds[1].kind, "abacus");
  EXPECT_EQ(kinds[2].kind, "cpu");
  EXPECT_EQ(kinds[2].ranks, 9);
  EXPECT_EQ(kinds[2].workers, (std::vector<const WorkerEntry*>{&workers[0], &workers[3]}));
  EXPECT_EQ(RanksOf(kinds), 15);
  EXPECT_EQ(RanksOf(ByKind(Pointers(workers), "cpu")), 9);
  EXPECT_TRUE(ByKind(Pointers(workers), "rocm").empty());
}

TEST(DeviceKind, AJobBeginsOnTheFirstKindThatSuffices) {
  const WorkerEntry cpu1 = Worker("cpu1", "cpu", 1), cpu2 = Worker("cpu2", "cpu", 1);
  const WorkerEntry cuda1 = Worker("gpu1", "cuda:0", 1), cuda2 = Worker("gpu2", "cuda", 1);
  EXPECT_EQ(PlacedOn({cpu1, cuda1}, 0, 2, ""), Names());
  EXPECT_EQ(PlacedOn({cpu1, cpu2, cuda1}, 0, 2, ""), (Names{"cpu1", "cpu2"}));
  EXPECT_EQ(PlacedOn({cpu1, cpu2, cuda1, cuda2}, 0, 2, ""), (Names{"gpu1", "gpu2"}));
  EXPECT_EQ(PlacedOn({cpu1, cpu2, cuda1}, 1, 2, ""), Names{"gpu1"}) << "ranks.min suffices";
}

TEST(DeviceKind, AJobThatHasBegunKeepsItsKind) {
  const WorkerEntry cpu1 = Worker("cpu1", "cpu", 1), cpu2 = Worker("cpu2", "cpu", 1);
  const WorkerEntry cuda1 = Worker("gpu1", "cuda", 1), cuda2 = Worker("gpu2", "cuda", 1);
  EXPECT_EQ(PlacedOn({cpu1, cuda1, cuda2}, 0, 2, "cpu"), Names());
  EXPECT_EQ(PlacedOn({cpu1, cpu2, cuda1}, 0, 2, "cuda"), Names());
  EXPECT_EQ(PlacedOn({cpu1, cpu2, cuda1, cuda2}, 0, 2, "cpu"), (Names{"cpu1", "cpu2"}));
  EXPECT_EQ(PlacedOn({cpu1, cuda1, cuda2}, 1, 2, "cpu"), Names{"cpu1"});
}

TEST(DeviceKind, MembersOfRandomWorkersAreOfOneKind) {
  int placed = 0, waits = 0;
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    Rng rng(seed);
    const std::vector<std::string> devices = {"cpu", "cuda", "cuda:1", "abacus", ""};
    std::vector<WorkerEntry> workers;
    std::map<std::string, std::string> kind_of;
    std::map<std::string, int> ranks_of;
    for (uint64_t n = rng.Below(6); workers.size() < n;) {
      workers.push_back(Worker("w" + std::to_string(workers.size()), devices[rng.Below(devices.size())],
                               static_cast<int>(rng.Between(1, 2))));
      const Hello& hello = workers.back().hello;
      kind_of[hello.worker.value()] = DeviceKind(hello);
      ranks_of[DeviceKind(hello)] += hello.ranks;
    }
    const int ranks = static_cast<int>(rng.Between(1, 4));
    const int least = static_cast<int>(rng.Between(1, ranks));
    const std::string own = rng.Chance(0.5) ? DeviceKind(Worker("x", devices[rng.Below(5)], 1).hello) : "";
    std::string expected;
    for (const char* kind : {"cuda", "abacus", "cpu", "unknown"}) {
      if (expected.empty() && (own.empty() || own == kind) && ranks_of[kind] >= least) expected = kind;
    }
    const Names names = PlacedOn(workers, least, ranks, own);
    std::set<std::string> kinds;
    for (const std::string& name : names) kinds.insert(kind_of[name]);
    if (expected.empty()) {
      ++waits;
      EXPECT_TRUE(names.empty()) << "seed " << seed;
    } else {
      ++placed;
      EXPECT_EQ(kinds, std::set<std::string>{expected}) << "seed " << seed;
      EXPECT_EQ(static_cast<int>(names.size()), std::min(ranks, ranks_of[expected])) << "seed " << seed;
    }
  }
  EXPECT_GT(placed, 50);
  EXPECT_GT(waits, 50);
}

TEST(DeviceKind, AWaitingJobIsToldOfKindsWhereTheyMatter) {
  const std::vector<WorkerEntry> workers = {Worker("a", "cpu", 1), Worker("b", "cuda:3", 1)};
  const std::vector<const WorkerEntry*> both = Pointers(workers), cpu = {&workers[0]};
  EXPECT_EQ(WaitingText("2 idle ranks", "", {}), "2 idle ranks; 0 are attached");
  EXPECT_EQ(WaitingText("2 idle ranks", "", cpu), "2 idle ranks; 1 are attached");
  EXPECT_EQ(WaitingText("2 idle ranks", "", both),
            "2 idle ranks of one kind of device; attached are 1 of cuda, 1 of cpu");
  EXPECT_EQ(WaitingText("2 idle ranks", "cpu", cpu), "2 idle ranks; 1 are attached");
  EXPECT_EQ(WaitingText("2 idle ranks", "cpu", both),
            "2 idle ranks of cpu, the kind of device it began on; attached are 1 of cuda, 1 of cpu");
  EXPECT_EQ(WaitingText("2 idle ranks", "cuda", cpu),
            "2 idle ranks of cuda, the kind of device it began on; attached are 1 of cpu");
}

// Of a core over `store`.
void Feed(Core& core, MemoryStore& store, Event event) {
  for (const Action& action : core.Step(Now{}, std::move(event))) {
    const auto* write = std::get_if<StoreWrite>(&action);
    if (write != nullptr) {
      ASSERT_TRUE(store.Commit(write->transaction).ok());
    }
  }
}

WorkerAttached Attached(int64_t stream, const std::string& name, const std::string& device) {
  Hello hello = Worker(name, device, 1).hello;
  hello.protocol_version = kProtocolVersion;
  hello.incarnation = Incarnation(1);
  return {StreamId(stream), hello};
}

// The record of a job that began before kinds were kept has none.
TEST(DeviceKind, OfAnOlderStoreIsThatOfTheMembers) {
  MemoryStore store;
  Core first(CoreOptions{});
  Feed(first, store, LeadershipWon{*store.Acquire(Term()), *store.Load()});
  Feed(first, store, Attached(1, "w1", "cpu"));
  Feed(first, store, Attached(2, "w2", "cpu"));
  Feed(first, store, SubmitJob{ReplyToken(1), SmallJob("a", 2)});
  for (int stream : {1, 2}) {
    Feed(first, store,
         WorkerSaid{StreamId(stream), Started{{store.term(), JobId("a"), Generation(1)}, Incarnation(1)}});
  }
  ASSERT_EQ(store.Job(JobId("a"))->state, JobState::kRunning);
  EXPECT_EQ(store.Job(JobId("a"))->device, "cpu");

  Core next(CoreOptions{});
  LeadershipWon won{*store.Acquire(Term()), *store.Load()};
  won.contents.jobs.at(0).device.clear();
  Feed(next, store, won);
  Feed(next, store, Attached(1, "gpu1", "cuda"));
  Feed(next, store, Attached(2, "gpu2", "cuda"));
  WorkerAttached member = Attached(3, "w1", "cpu");
  member.hello.job = JobId("a");
  member.hello.generation = Generation(1);
  Feed(next, store, member);
  const Stamp stamp{store.term(), JobId("a"), Generation(1)};
  Feed(next, store, WorkerSaid{StreamId(3), LostPeer{stamp, Rank(1), "connection reset"}});
  Frozen frozen;
  frozen.stamp = stamp;
  frozen.incarnation = Incarnation(1);
  Feed(next, store, WorkerSaid{StreamId(3), frozen});
  EXPECT_EQ(
      next.Jobs().at(0).record.reason,
      "worker w1 lost rank 1 of worker w2: connection reset; waits for 2 idle ranks of cpu, the kind of "
      "device it began on; attached are 2 of cuda, 1 of cpu");
  EXPECT_EQ(store.Job(JobId("a"))->device, "cpu");
}

}  // namespace
}  // namespace ballast
