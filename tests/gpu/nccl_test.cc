// What every communicator must do, between devices: ranks are threads of this process, each with a device of
// its own, and once two processes, of which one is killed. Run one test per process, as ctest does: what one
// does to a device must not reach the next.
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <limits>
#include <mutex>
#include <thread>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "tests/base/temp_dir.h"
#include "tests/gpu/plugin_fixture.h"
#include "tests/worker/comm/communicator_fixture.h"
#include "tests/worker/comm/file_store.h"
#include "tests/worker/comm/memory_store.h"
#include "worker/comm/farewell.h"

extern char** environ;

namespace ballast {
namespace {

using std::chrono::steady_clock;

constexpr int kRanks = 2;
// Deadline of a wake-up: three times the promised 100 ms.
constexpr double kWakeSecondsMax = 0.3;
// Ending a communicator that is being made joins NCCL's own threads.
constexpr double kConnectWakeSeconds = 2;
// More than NCCL's own buffers hold, so that it is not sent before somebody receives.
constexpr size_t kLarge = size_t{1} << 30;
constexpr char kChild[] = "BALLAST_NCCL_TEST_FOLDER";

// One rank: its device, stream and communicator.
struct RankParts {
  std::unique_ptr<Backend> backend;
  std::unique_ptr<Stream> stream;
  std::unique_ptr<Communicator> communicator;

  Buffer Device(const std::string& bytes) {
    auto buffer = backend->Allocate(std::max<size_t>(bytes.size(), 1), "test");
    BALLAST_CHECK_OK(buffer.status());
    backend->Copy(*stream, buffer->data(), bytes.data(), bytes.size());
    BALLAST_CHECK_OK(backend->Synchronize(*stream));
    return *std::move(buffer);
  }
  std::string Host(const Buffer& buffer, size_t bytes) {
    std::string host(bytes, '?');
    backend->Copy(*stream, host.data(), buffer.data(), bytes);
    BALLAST_CHECK_OK(backend->Synchronize(*stream));
    return host;
  }
};

// A device's failure in a rank's thread fails the test and not the program.
void OnDevices(const std::function<void(Rank)>& body) {
  OnAllRanks(kRanks, [&](Rank self) {
    try {
      body(self);
    } catch (const DeviceError& error) {
      ADD_FAILURE() << "rank " << self << ": " << error.what();
    }
  });
}

DeviceCommunicatorOptions Options(int rank, int size, int64_t generation = 1) {
  return {.rank = Rank(rank),
          .size = size,
          .generation = Generation(generation),
          .device = rank,
          .deadline = After(60)};
}

RankParts Join(DevicePlugin& plugin, const DeviceCommunicatorOptions& options, RendezvousStore& store) {
  RankParts parts;
  auto backend = plugin.MakeBackend(options.device, DType::kFloat32, std::numeric_limits<size_t>::max());
  BALLAST_CHECK_OK(backend.status());
  parts.backend = *std::move(backend);
  parts.stream = parts.backend->NewStream();
  auto communicator = plugin.Connect(options, store);
  BALLAST_CHECK_OK(communicator.status());
  parts.communicator = *std::move(communicator);
  return parts;
}

class Nccl : public testing::Test {
 protected:
  void SetUp() override { BALLAST_PLUGIN_OR_SKIP(plugin_); }
  bool TwoDevices() const { return plugin_->Devices()->size() >= kRanks; }
  DevicePlugin* plugin_ = nullptr;
};

class NcclPair : public Nccl {
 protected:
  void SetUp() override {
    Nccl::SetUp();
    if (IsSkipped() || HasFailure()) return;
    if (!TwoDevices()) GTEST_SKIP() << "needs 2 devices; here is 1";
  }
};

// The peer never comes, and the generation is over before the deadline.
TEST_F(Nccl, AbortWakesTheConnecting) {
  MemoryStore store;
  std::thread watchdog([&store] {
    std::this_thread::sleep_for(std::chrono::seconds(1));
    store.Abort("the peer has died");
  });
  const steady_clock::time_point begin = steady_clock::now();
  const auto communicator = plugin_->Connect(Options(0, 2), store);
  const std::chrono::duration<double> took = steady_clock::now() - begin;
  watchdog.join();
  EXPECT_EQ(communicator.status(), absl::AbortedError("the peer has died"));
  EXPECT_LT(took.count(), 1 + 3 * kConnectWakeSeconds);
  std::cout << "awake " << took.count() - 1 << " s after the abort\n";
}

TEST_F(NcclPair, ExchangeAndAllGatherOfDeviceAndHostMemory) {
  MemoryStore store;
  OnDevices([&](Rank self) {
    RankParts parts = Join(*plugin_, Options(self.value(), kRanks), store);
    Communicator& communicator = *parts.communicator;
    for (int round = 0; round < 20; ++round) {
      // Messages of 0 bytes to 3 MB, to the other and to itself; every other round lies in host memory.
      const bool host = round % 2 == 1;
      std::vector<std::string> out(kRanks), in(kRanks);
      std::vector<Buffer> device_out, device_in;
      std::vector<SendOp> sends;
      std::vector<RecvOp> recvs;
      for (int peer = 0; peer < kRanks; ++peer) {
        const size_t bytes = ((self.value() + peer + round) % 3) * (round % 5 == 4 ? 1500001 : 11);
        out[peer].assign(bytes, static_cast<char>('a' + self.value() * 10 + peer));
        in[peer].assign(bytes, '?');
        device_out.push_back(parts.Device(out[peer]));
        device_in.push_back(parts.Device(in[peer]));
        sends.push_back({Rank(peer), host ? out[peer].data() : device_out[peer].data(), bytes});
        recvs.push_back({Rank(peer), host ? in[peer].data() : device_in[peer].data(), bytes});
      }
      auto pending = communicator.Exchange(*parts.stream, sends, recvs);
      absl::Status status = communicator.Wait(*pending, After(60));
      ASSERT_TRUE(status.ok()) << status;
      for (int peer = 0; peer < kRanks; ++peer) {
        const std::string found = host ? in[peer] : parts.Host(device_in[peer], in[peer].size());
        ASSERT_EQ(found, std::string(in[peer].size(), static_cast<char>('a' + peer * 10 + self.value())))
            << "round " << round << " from " << peer;
      }
      const std::vector<size_t> bytes = {static_cast<size_t>(round % 3), 5};
      const std::string mine(bytes[self.index()], static_cast<char>('A' + self.value()));
      std::string all(bytes[0] + 5, '?');
      pending = communicator.AllGather(*parts.stream, mine.data(), bytes, all.data());
      ASSERT_TRUE(communicator.Wait(*pending, After(60)).ok());
      EXPECT_EQ(all, std::string(bytes[0], 'A') + "BBBBB");
    }
    EXPECT_EQ(communicator.stats().operations, 40);
    EXPECT_GT(communicator.stats().bytes_sent, 1500001);
    ASSERT_TRUE(Farewell(communicator, *parts.stream, After(60)).ok());
  });
}

// Operations enqueued one after another and waited for at the end, behind work on the same stream.
TEST_F(NcclPair, OperationsRunInTheOrderOfTheStream) {
  MemoryStore store;
  OnDevices([&](Rank self) {
    RankParts parts = Join(*plugin_, Options(self.value(), kRanks), store);
    const Rank peer(1 - self.value());
    Buffer mine = parts.Device(std::string(1 << 20, 'a')), in = parts.Device(std::string(8 << 20, '?'));
    std::vector<std::unique_ptr<Pending>> all;
    std::vector<Buffer> next;
    for (int i = 0; i < 8; ++i)
      next.push_back(parts.Device(std::string(1 << 20, static_cast<char>('b' + i))));
    for (int i = 0; i < 8; ++i) {
      char* to = static_cast<char*>(in.data()) + (i << 20);
      all.push_back(
          parts.communicator->Exchange(*parts.stream, {{peer, mine.data(), 1 << 20}}, {{peer, to, 1 << 20}}));
      parts.backend->Copy(*parts.stream, mine.data(), next[i].data(), 1 << 20);
    }
    for (auto& pending : all) ASSERT_TRUE(parts.communicator->Wait(*pending, After(60)).ok());
    const std::string found = parts.Host(in, 8 << 20);
    for (int i = 0; i < 8; ++i) {
      ASSERT_EQ(found.substr(static_cast<size_t>(i) << 20, 1 << 20),
                std::string(1 << 20, static_cast<char>('a' + i)));
    }
    ASSERT_TRUE(Farewell(*parts.communicator, *parts.stream, After(60)).ok());
  });
}

TEST_F(NcclPair, TwoCommunicatorsAndGenerationsAfterEachOther) {
  MemoryStore store;
  OnDevices([&](Rank self) {
    for (int64_t generation = 1; generation <= 3; ++generation) {
      DeviceCommunicatorOptions options = Options(self.value(), kRanks, generation);
      RankParts parts = Join(*plugin_, options, store);
      options.name = "background";
      options.thread_blocks_max = 2;
      auto second = plugin_->Connect(options, store);
      ASSERT_TRUE(second.ok()) << second.status();
      for (Communicator* communicator : {parts.communicator.get(), second->get()}) {
        std::string mine(1, static_cast<char>('0' + self.value())), all(2, '?');
        auto pending = communicator->AllGather(*parts.stream, mine.data(), {1, 1}, all.data());
        ASSERT_TRUE(communicator->Wait(*pending, After(60)).ok());
        EXPECT_EQ(all, "01");
        ASSERT_TRUE(Farewell(*communicator, *parts.stream, After(60)).ok());
      }
    }
  });
}

// What the waiting rank does when it is aborted: nothing that it waits for ever comes.
enum class Hang { kRecv, kSend, kAllGather };

void AbortInMidWait(DevicePlugin& plugin, Hang hang) {
  MemoryStore store;
  std::atomic<int> waiting = 0, finished = 0;
  OnDevices([&](Rank self) {
    RankParts parts = Join(plugin, Options(self.value(), kRanks), store);
    Communicator& communicator = *parts.communicator;
    const Rank peer(1 - self.value());
    Buffer memory = *parts.backend->Allocate(kLarge, "test");
    char* data = static_cast<char*>(memory.data());
    std::unique_ptr<Pending> pending;
    if (hang == Hang::kRecv) pending = communicator.Exchange(*parts.stream, {}, {{peer, data, 64}});
    if (hang == Hang::kSend) pending = communicator.Exchange(*parts.stream, {{peer, data, kLarge}}, {});
    // Rank 1 never enters the all-gather, so nobody can finish it.
    if (hang == Hang::kAllGather && self == Rank(0)) {
      pending = communicator.AllGather(*parts.stream, data, {64, 64}, data + 1024);
    }
    ++waiting;
    if (pending != nullptr) {
      steady_clock::time_point aborted;
      std::thread aborter([&] {
        while (waiting < kRanks) std::this_thread::yield();
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
        aborted = steady_clock::now();
        communicator.Abort("test");
        communicator.Abort("again");
      });
      absl::Status status = communicator.Wait(*pending, After(60));
      const auto woken = steady_clock::now();
      aborter.join();
      const double seconds = ToSeconds(woken - aborted);
      EXPECT_EQ(status, absl::AbortedError("test"));
      EXPECT_LT(seconds, kWakeSecondsMax);
      static std::mutex print;
      std::lock_guard<std::mutex> lock(print);
      std::cout << "rank " << self << " woken after " << seconds * 1e3 << " ms: " << status.message() << "\n";
    } else {
      communicator.Abort("never entered");
    }
    ++finished;
    const Time patience = After(60);
    while (finished < kRanks && After(0) < patience) std::this_thread::yield();
    pending = communicator.AllGather(*parts.stream, data, {1, 1}, data + 1024);
    EXPECT_FALSE(communicator.Wait(*pending, After(60)).ok()) << "dead is dead";
    // The device is as good as before.
    EXPECT_EQ(parts.Host(parts.Device("after"), 5), "after");
  });
}

TEST_F(NcclPair, AbortWakesAReceive) { AbortInMidWait(*plugin_, Hang::kRecv); }
TEST_F(NcclPair, AbortWakesASend) { AbortInMidWait(*plugin_, Hang::kSend); }
TEST_F(NcclPair, AbortWakesAnAllGather) { AbortInMidWait(*plugin_, Hang::kAllGather); }

TEST_F(NcclPair, DeadlineEndsAWait) {
  MemoryStore store;
  std::atomic<bool> done = false;
  OnDevices([&](Rank self) {
    RankParts parts = Join(*plugin_, Options(self.value(), kRanks), store);
    if (self == Rank(1)) {
      while (!done) std::this_thread::yield();
      return;
    }
    Buffer memory = parts.Device(std::string(8, 'x'));
    auto pending = parts.communicator->Exchange(*parts.stream, {}, {{Rank(1), memory.data(), 8}});
    absl::Status status = parts.communicator->Wait(*pending, After(0.2));
    EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded) << status;
    done = true;
  });
}

TEST_F(Nccl, OneRankNeedsNobody) {
  MemoryStore store;
  RankParts parts = Join(*plugin_, Options(0, 1), store);
  int in = 3, out = 0;
  auto pending = parts.communicator->AllGather(*parts.stream, &in, {4}, &out);
  ASSERT_TRUE(parts.communicator->Wait(*pending, After(60)).ok());
  EXPECT_EQ(out, 3);
  EXPECT_TRUE(Farewell(*parts.communicator, *parts.stream, After(60)).ok());
}

TEST_F(Nccl, AMissingRankIsADeadline) {
  MemoryStore store;
  DeviceCommunicatorOptions options = Options(0, 2);
  options.deadline = After(1);
  absl::Status status = plugin_->Connect(options, store).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded) << status;
  options.rank = Rank(1);
  options.generation = Generation(9);  // whose rank 0 has put no id
  options.deadline = After(0.2);
  options.device = 0;
  status = plugin_->Connect(options, store).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded) << status;
}

TEST_F(Nccl, AnotherVersionIsNamed) {
  MemoryStore store;
  ASSERT_TRUE(store.Put("generation 1/nccl main", "20304 abcd").ok());
  DeviceCommunicatorOptions options = Options(1, 2);
  options.device = 0;
  absl::Status status = plugin_->Connect(options, store).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
  EXPECT_NE(std::string(status.message()).find("rank 0 has NCCL 20304"), std::string::npos) << status;
}

TEST_F(Nccl, TwoRanksOnOneDeviceAreRefused) {
  MemoryStore store;
  OnAllRanks(2, [&](Rank self) {
    DeviceCommunicatorOptions options = Options(self.value(), 2);
    options.device = 0;
    options.deadline = After(30);
    absl::Status status = plugin_->Connect(options, store).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
    std::cout << absl::StrCat("rank ", self.value(), ": ", status.ToString(), "\n");
  });
}

// Run by the test below in a process of its own.
TEST_F(NcclPair, ChildOfKilledPeer) {
  const char* folder = getenv(kChild);
  if (folder == nullptr) GTEST_SKIP() << "runs as a child of KilledPeerIsLeftOnAbort";
  const int rank = atoi(getenv("BALLAST_NCCL_TEST_RANK"));
  FileStore store(folder);
  RankParts parts = Join(*plugin_, Options(rank, kRanks), store);
  Buffer out = *parts.backend->Allocate(kLarge, "test"), in = *parts.backend->Allocate(kLarge, "test");
  std::string mine(1, static_cast<char>('0' + rank)), all(2, '?');
  auto pending = parts.communicator->AllGather(*parts.stream, mine.data(), {1, 1}, all.data());
  ASSERT_TRUE(parts.communicator->Wait(*pending, After(60)).ok());
  ASSERT_EQ(all, "01");
  if (rank == 1) {
    ASSERT_TRUE(store.Put("ready to die", "").ok());
    while (true) pause();
  }
  steady_clock::time_point aborted;
  std::thread neighbour([&] {
    (void)store.Get("peer is dead", After(60));
    aborted = steady_clock::now();
    parts.communicator->Abort("rank 1 is dead");
  });
  pending = parts.communicator->Exchange(*parts.stream, {{Rank(1), out.data(), kLarge}},
                                         {{Rank(1), in.data(), kLarge}});
  absl::Status status = parts.communicator->Wait(*pending, After(60));
  const auto woken = steady_clock::now();
  EXPECT_TRUE(absl::IsAborted(status) || absl::IsUnavailable(status)) << status;
  neighbour.join();
  const double seconds = ToSeconds(woken - aborted);
  std::cout << "woken " << seconds * 1e3 << " ms after the abort: " << status << "\n";
  EXPECT_LT(seconds, kWakeSecondsMax);
  EXPECT_EQ(parts.Host(parts.Device("after"), 5), "after");
}

TEST_F(NcclPair, KilledPeerIsLeftOnAbort) {
  TempDir folder;
  const std::string self = std::filesystem::read_symlink("/proc/self/exe").string();
  std::vector<pid_t> children;
  for (int rank = 0; rank < kRanks; ++rank) {
    std::vector<std::string> environment;
    for (char** entry = environ; *entry != nullptr; ++entry) environment.push_back(*entry);
    environment.push_back(absl::StrCat(kChild, "=", folder.path()));
    environment.push_back(absl::StrCat("BALLAST_NCCL_TEST_RANK=", rank));
    std::vector<char*> pointers;
    for (std::string& entry : environment) pointers.push_back(entry.data());
    pointers.push_back(nullptr);
    std::string program = self, filter = "--gtest_filter=NcclPair.ChildOfKilledPeer";
    char* arguments[] = {program.data(), filter.data(), nullptr};
    pid_t child = 0;
    ASSERT_EQ(posix_spawn(&child, self.c_str(), nullptr, nullptr, arguments, pointers.data()), 0);
    children.push_back(child);
  }
  FileStore store(folder.path());
  ASSERT_TRUE(store.Get("ready to die", After(60)).ok());
  std::this_thread::sleep_for(std::chrono::milliseconds(500));  // the other one's kernel waits by now
  kill(children[1], SIGKILL);
  int status = 0;
  ASSERT_EQ(waitpid(children[1], &status, 0), children[1]);
  ASSERT_TRUE(store.Put("peer is dead", "").ok());
  ASSERT_EQ(waitpid(children[0], &status, 0), children[0]);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "the survivor failed";
}

}  // namespace
}  // namespace ballast
