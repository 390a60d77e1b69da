#include "worker/comm/gloo_communicator.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <mutex>

#include "base/check.h"
#include "tests/base/temp_dir.h"
#include "tests/worker/comm/communicator_fixture.h"
#include "tests/worker/comm/file_store.h"
#include "tests/worker/comm/memory_store.h"
#include "worker/comm/farewell.h"
#include "worker/comm/lost_peer.h"

namespace ballast {
namespace {

using std::chrono::steady_clock;

// Deadline of a wake-up: three times the promised 100 ms.
constexpr double kWakeSecondsMax = 0.3;

std::unique_ptr<Communicator> Connect(int rank, int size, RendezvousStore& store, int64_t generation = 1) {
  auto communicator = ConnectGloo({.rank = Rank(rank),
                                   .size = size,
                                   .generation = Generation(generation),
                                   .data_address = "127.0.0.1",
                                   .deadline = After(60)},
                                  store);
  BALLAST_CHECK_OK(communicator.status());
  return *std::move(communicator);
}

// Of an exchange that begins together one message is timed, of another peer each time; of others none.
TEST(GlooCommunicator, TimesMessagesThatBeginTogether) {
  constexpr int kRanks = 3;
  const Topology topology = Topology::FromNodeNames({"a", "a", "b"});
  MemoryStore store;
  OnAllRanks(kRanks, [&](Rank self) {
    auto communicator = Connect(self.value(), kRanks, store);
    NoStream stream;
    const auto exchange = [&] {
      std::vector<std::vector<char>> out(kRanks), in(kRanks);
      std::vector<SendOp> sends;
      std::vector<RecvOp> recvs;
      for (int peer = 0; peer < kRanks; ++peer) {
        out[peer].assign(1000 * (self.index() + 1), static_cast<char>(self.value()));
        in[peer].assign(1000 * static_cast<size_t>(peer + 1), -1);
        sends.push_back({Rank(peer), out[peer].data(), out[peer].size()});
        recvs.push_back({Rank(peer), in[peer].data(), in[peer].size()});
      }
      auto pending = communicator->Exchange(stream, sends, recvs);
      ASSERT_TRUE(communicator->Wait(*pending, After(60)).ok());
      for (int peer = 0; peer < kRanks; ++peer) {
        for (char byte : in[peer]) ASSERT_EQ(byte, peer);
      }
    };
    exchange();
    for (const PeerStats& peer : communicator->peers()) EXPECT_EQ(peer.timed_messages, 0);
    for (int i = 0; i < 4; ++i) {
      communicator->NextBeginsTogether(topology);
      exchange();
      exchange();
    }
    for (int peer = 0; peer < kRanks; ++peer) {
      const PeerStats& stats = communicator->peers()[peer];
      if (Rank(peer) == self) {
        EXPECT_EQ(stats.timed_messages, 0);
        continue;
      }
      EXPECT_EQ(stats.timed_messages, 2);
      EXPECT_GT(stats.timed_seconds, 0);
      EXPECT_LT(stats.timed_seconds, stats.receive_seconds);
      // Rank 2 has both peers on one port, the others one on each.
      const int64_t beside = self == Rank(2) && peer == 1 ? 3000 : self == Rank(2) ? 2000 : 1000 * (peer + 1);
      EXPECT_EQ(stats.timed_bytes, 2 * beside) << self.value() << " from " << peer;
    }
    ASSERT_TRUE(Farewell(*communicator, stream, After(60)).ok());
  });
}

TEST(GlooCommunicator, ExchangeAndAllGather) {
  constexpr int kRanks = 4;
  MemoryStore store;
  OnAllRanks(kRanks, [&](Rank self) {
    auto communicator = Connect(self.value(), kRanks, store);
    NoStream stream;
    for (int round = 0; round < 10; ++round) {
      // Message lengths from 0 to 3 MB: a large one does not fit into any socket buffer.
      std::vector<std::vector<int>> out(kRanks), in(kRanks);
      std::vector<SendOp> sends;
      std::vector<RecvOp> recvs;
      for (int peer = 0; peer < kRanks; ++peer) {
        int words = ((self.value() + peer + round) % 4) * (round % 5 == 4 ? 250000 : 11);
        out[peer].assign(words, self.value() * 10 + peer + round);
        in[peer].assign(words, -1);
        sends.push_back({Rank(peer), out[peer].data(), words * sizeof(int)});
        recvs.push_back({Rank(peer), in[peer].data(), words * sizeof(int)});
      }
      auto pending = communicator->Exchange(stream, sends, recvs);
      absl::Status status = communicator->Wait(*pending, After(60));
      ASSERT_TRUE(status.ok()) << status;
      for (int peer = 0; peer < kRanks; ++peer) {
        for (int word : in[peer]) ASSERT_EQ(word, peer * 10 + self.value() + round);
      }
      std::vector<int32_t> mine(self.value(), round * 10 + self.value()), all(6);
      pending = communicator->AllGather(stream, mine.data(), {0, 4, 8, 12}, all.data());
      ASSERT_TRUE(communicator->Wait(*pending, After(60)).ok());
      int b = round * 10;
      EXPECT_EQ(all, (std::vector<int32_t>{b + 1, b + 2, b + 2, b + 3, b + 3, b + 3}));
    }
    EXPECT_EQ(communicator->stats().operations, 20);
    ASSERT_TRUE(Farewell(*communicator, stream, After(60)).ok());
  });
  for (const auto& [key, value] : store.values()) EXPECT_EQ(key.rfind("generation 1/", 0), 0u) << key;
}

TEST(GlooCommunicator, OneRankNeedsNobody) {
  MemoryStore store;
  auto communicator = Connect(0, 1, store);
  NoStream stream;
  int in = 3, out = 0;
  auto pending = communicator->AllGather(stream, &in, {4}, &out);
  ASSERT_TRUE(communicator->Wait(*pending, After(60)).ok());
  EXPECT_EQ(out, 3);
  EXPECT_TRUE(Farewell(*communicator, stream, After(60)).ok());
}

// Closing connections discards what a peer has not read yet; a rank that says farewell first loses nobody's
// data.
TEST(GlooCommunicator, FarewellLosesNothing) {
  constexpr int kRanks = 4;
  for (int generation = 1; generation <= 10; ++generation) {
    MemoryStore store;
    OnAllRanks(kRanks, [&](Rank self) {
      auto communicator = Connect(self.value(), kRanks, store, generation);
      NoStream stream;
      std::vector<char> mine(200000, 'a' + self.value()), all(4 * mine.size());
      auto pending =
          communicator->AllGather(stream, mine.data(), std::vector<size_t>(4, mine.size()), all.data());
      absl::Status status = communicator->Wait(*pending, After(60));
      EXPECT_TRUE(status.ok()) << status;
      EXPECT_EQ(all[3 * mine.size()], 'd');
      status = Farewell(*communicator, stream, After(60));
      EXPECT_TRUE(status.ok()) << status;
    });
  }
}

// What the waiting rank does when it is aborted: nothing that it waits for ever comes.
enum class Hang { kRecv, kSend, kAllGather };

void AbortInMidWait(Hang hang) {
  constexpr int kRanks = 4;
  MemoryStore store;
  std::atomic<int> waiting = 0, finished = 0;
  OnAllRanks(kRanks, [&](Rank self) {
    auto communicator = Connect(self.value(), kRanks, store);
    NoStream stream;
    const Rank peer((self.value() + 1) % kRanks), before((self.value() + kRanks - 1) % kRanks);
    std::vector<char> out(8 << 20, 'x'), in(kRanks * 64);
    std::unique_ptr<Pending> pending;
    if (hang == Hang::kRecv) pending = communicator->Exchange(stream, {}, {{before, in.data(), 64}});
    if (hang == Hang::kSend) pending = communicator->Exchange(stream, {{peer, out.data(), out.size()}}, {});
    // Rank 3 never enters the all-gather, so nobody can finish it.
    if (hang == Hang::kAllGather && self != Rank(3)) {
      pending = communicator->AllGather(stream, out.data(), std::vector<size_t>(kRanks, 64), in.data());
    }
    ++waiting;
    if (pending != nullptr) {
      // Each rank is aborted while the others are still there, so that it is its own Abort that wakes it.
      steady_clock::time_point aborted;
      std::thread aborter([&] {
        while (waiting < kRanks) std::this_thread::yield();
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
        aborted = steady_clock::now();
        communicator->Abort("test");
        communicator->Abort("again");
      });
      absl::Status status = communicator->Wait(*pending, After(60));
      auto woken = steady_clock::now();
      aborter.join();
      double seconds = ToSeconds(woken - aborted);
      // Ranks abort at about the same time: one may lose its peer a moment before its own Abort.
      EXPECT_TRUE(absl::IsAborted(status) || absl::IsUnavailable(status)) << status;
      EXPECT_LT(seconds, kWakeSecondsMax);
      static std::mutex print;
      std::lock_guard<std::mutex> lock(print);
      std::cout << "rank " << self << " woken after " << seconds * 1e3 << " ms: " << status.message() << "\n";
    }
    ++finished;
    while (finished < kRanks) std::this_thread::yield();
    pending = communicator->AllGather(stream, out.data(), std::vector<size_t>(kRanks, 1), in.data());
    EXPECT_FALSE(communicator->Wait(*pending, After(60)).ok()) << "dead is dead";
  });
}

TEST(GlooCommunicator, AbortWakesAReceive) { AbortInMidWait(Hang::kRecv); }
TEST(GlooCommunicator, AbortWakesASend) { AbortInMidWait(Hang::kSend); }
TEST(GlooCommunicator, AbortWakesAnAllGather) { AbortInMidWait(Hang::kAllGather); }

// What a rank that hangs after it has listened sees of the rendezvous.
class StuckStore final : public RendezvousStore {
 public:
  StuckStore(RendezvousStore& others, RendezvousStore& never) : others_(others), never_(never) {}
  absl::Status Put(const std::string& key, const std::string& value) override {
    return others_.Put(key, value);
  }
  absl::StatusOr<std::string> Get(const std::string& key, Time deadline) override {
    return never_.Get(key, deadline);
  }

 private:
  RendezvousStore& others_;
  RendezvousStore& never_;
};

// Rank 1 of three is not there (`stuck`: it has put its addresses and hangs); the others are aborted in
// mid-connect, 60 s before the deadline.
void AbortInMidConnect(bool stuck, int64_t generation) {
  MemoryStore store, never;
  StuckStore stuck_store(store, never);
  steady_clock::time_point aborted;
  double slowest = 0;
  std::mutex mutex;
  std::atomic<int> awake = 0;
  std::thread hanging;
  auto connect = [&](int rank, RendezvousStore& with) {
    return ConnectGloo({.rank = Rank(rank),
                        .size = 3,
                        .generation = Generation(generation),
                        .data_address = "127.0.0.1",
                        .deadline = After(60)},
                       with)
        .status();
  };
  if (stuck) hanging = std::thread([&] { EXPECT_TRUE(absl::IsAborted(connect(1, stuck_store))); });
  std::thread aborter([&] {
    // All addresses are there, and those that can connect have.
    while (store.values().size() < (stuck ? 3u : 2u)) std::this_thread::yield();
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    EXPECT_EQ(awake, 0);
    aborted = steady_clock::now();
    store.Abort("test");
  });
  OnAllRanks(2, [&](Rank index) {
    const int rank = 2 * index.value();
    absl::Status status = connect(rank, store);
    ++awake;
    std::lock_guard<std::mutex> lock(mutex);
    slowest = std::max(slowest, ToSeconds(steady_clock::now() - aborted));
    EXPECT_EQ(status, absl::AbortedError("test")) << "rank " << rank;
  });
  aborter.join();
  never.Abort("test ends");
  if (hanging.joinable()) hanging.join();
  std::cout << "abort to return: " << slowest * 1e3 << " ms\n";
  EXPECT_LT(slowest, kWakeSecondsMax);
  // Nor does one that comes later wait.
  EXPECT_EQ(connect(1, store), absl::AbortedError("test"));
}

TEST(GlooCommunicator, AbortWakesTheConnectingWithARankMissing) { AbortInMidConnect(false, 1); }

// By the ports that they happen to get, ranks 0 and 2 wait for rank 1 to connect, or for its first word.
TEST(GlooCommunicator, AbortWakesTheConnectingWithARankThatHangs) {
  for (int generation = 1; generation <= 8; ++generation) AbortInMidConnect(true, generation);
}

TEST(GlooCommunicator, OwnAbortIsAbortedWithItsReason) {
  MemoryStore store;
  OnAllRanks(2, [&](Rank self) {
    auto communicator = Connect(self.value(), 2, store);
    NoStream stream;
    char data[8] = {};
    auto pending = communicator->Exchange(stream, {}, {{Rank(1 - self.value()), data, 8}});
    if (self == Rank(0)) communicator->Abort("because");
    absl::Status status = communicator->Wait(*pending, After(60));
    if (self == Rank(0)) {
      EXPECT_EQ(status, absl::AbortedError("because"));
    } else {
      EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
      EXPECT_NE(std::string(status.message()).find("rank 0"), std::string::npos) << status;
      EXPECT_EQ(LostPeerOf(status), Rank(0));
    }
  });
}

// A process was killed by SIGPIPE when it wrote to a peer that had just closed.
TEST(GlooCommunicator, ClosedPeerRaisesNoSignal) {
  signal(SIGPIPE, SIG_DFL);
  MemoryStore store;
  OnAllRanks(2, [&](Rank self) { Connect(self.value(), 2, store); });
  raise(SIGPIPE);  // ends the process if it is not ignored
  struct sigaction now{};
  ASSERT_EQ(sigaction(SIGPIPE, nullptr, &now), 0);
  EXPECT_EQ(now.sa_handler, SIG_IGN);
}

TEST(GlooCommunicator, DeadlineNamesThePeer) {
  MemoryStore store;
  std::atomic<bool> done = false;
  OnAllRanks(2, [&](Rank self) {
    auto communicator = Connect(self.value(), 2, store);
    NoStream stream;
    char data[8] = {};
    if (self == Rank(1)) {
      while (!done) std::this_thread::yield();
      return;
    }
    auto pending = communicator->Exchange(stream, {}, {{Rank(1), data, 8}});
    absl::Status status = communicator->Wait(*pending, After(0.2));
    EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded) << status;
    EXPECT_NE(std::string(status.message()).find("rank 1"), std::string::npos) << status;
    done = true;
  });
}

TEST(GlooCommunicator, ConnectErrors) {
  MemoryStore store;
  GlooOptions options;
  options.size = 2;
  options.generation = Generation(1);
  options.data_address = "127.0.0.1";
  options.deadline = After(0.2);
  absl::Status status = ConnectGloo(options, store).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded) << status;
  EXPECT_NE(std::string(status.message()).find("rank 1"), std::string::npos) << status;
  options.data_address = "192.0.2.1";  // documentation network: no interface has it
  status = ConnectGloo(options, store).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  EXPECT_NE(std::string(status.message()).find("192.0.2.1"), std::string::npos) << status;
  EXPECT_NE(std::string(status.message()).find("assign requested address"), std::string::npos) << status;
  options.data_address = "no such host";
  status = ConnectGloo(options, store).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
}

// Four processes; the last is killed in mid-run. Every survivor's exit code says whether it saw what it
// should.
TEST(GlooCommunicatorProcesses, KilledPeerIsUnavailableAndNamed) {
  constexpr int kRanks = 4;
  TempDir folder;
  std::vector<pid_t> children;
  for (int rank = 0; rank < kRanks; ++rank) {
    pid_t pid = fork();
    ASSERT_GE(pid, 0);
    if (pid > 0) {
      children.push_back(pid);
      continue;
    }
    FileStore store(folder.path());
    auto communicator = Connect(rank, kRanks, store);
    NoStream stream;
    int all[kRanks], code = 0;
    for (int round = 0; round < 5; ++round) {
      auto pending = communicator->AllGather(stream, &rank, std::vector<size_t>(kRanks, 4), all);
      if (!communicator->Wait(*pending, After(60)).ok() || all[3] != 3) code = 1;
    }
    if (rank == 3) {
      (void)store.Put("ready to die", "");
      while (true) pause();
    }
    auto pending = communicator->Exchange(stream, {}, {{Rank(3), all, 4}});
    absl::Status status = communicator->Wait(*pending, After(60));
    if (!absl::IsUnavailable(status)) code = 2;
    if (std::string(status.message()).find("rank 3") == std::string::npos) code = 3;
    _exit(code);
  }
  FileStore store(folder.path());
  ASSERT_TRUE(store.Get("ready to die", After(60)).ok());
  auto killed = steady_clock::now();
  kill(children[3], SIGKILL);
  for (int rank = 0; rank < kRanks; ++rank) {
    int status = 0;
    ASSERT_EQ(waitpid(children[rank], &status, 0), children[rank]);
    if (rank == 3) continue;
    EXPECT_TRUE(WIFEXITED(status));
    EXPECT_EQ(WEXITSTATUS(status), 0) << "rank " << rank;
  }
  std::cout << "all survivors ended " << ToSeconds(steady_clock::now() - killed) * 1e3
            << " ms after the kill\n";
}

}  // namespace
}  // namespace ballast
