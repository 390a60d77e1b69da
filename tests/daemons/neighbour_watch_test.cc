#include "worker/neighbours/neighbour_watch.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/mutex.h"
#include "worker/neighbours/frame.h"
#include "worker/neighbours/socket.h"

namespace ballast {
namespace {

// The first loss that a watch reports.
class Loss {
 public:
  NeighbourWatch::OnLost Callback() {
    return [this](Rank peer, const std::string& detail) {
      MutexLock lock(mutex_);
      lost_ = {peer, detail};
      arrived_.SignalAll();
    };
  }
  std::optional<std::pair<Rank, std::string>> Wait(double seconds) {
    Time deadline = SteadyClock().Now() + Seconds(seconds);
    MutexLock lock(mutex_);
    while (!lost_.has_value()) {
      if (!arrived_.WaitUntil(mutex_, deadline)) break;
    }
    return lost_;
  }

 private:
  Mutex mutex_;
  CondVar arrived_;
  std::optional<std::pair<Rank, std::string>> lost_ GUARDED_BY(mutex_);
};

struct Daemon {
  std::unique_ptr<NeighbourWatch> watch;
  Loss loss;
};

std::unique_ptr<NeighbourWatch> MustListen(NeighbourTimes times = {}) {
  absl::StatusOr<std::unique_ptr<NeighbourWatch>> watch = NeighbourWatch::Listen("127.0.0.1", 0, times);
  EXPECT_TRUE(watch.ok()) << watch.status();
  return *std::move(watch);
}

std::string AddressOf(int port) { return absl::StrCat("127.0.0.1:", port); }

// Daemon i of n with one rank each.
void Join(Daemon& daemon, int i, int n, int next_port, Generation generation) {
  absl::Status status = daemon.watch->Watch({.job = JobId("demo"),
                                             .generation = generation,
                                             .self = Rank(i),
                                             .next = Rank((i + 1) % n),
                                             .next_address = AddressOf(next_port),
                                             .previous = Rank((i + n - 1) % n)},
                                            daemon.loss.Callback());
  ASSERT_TRUE(status.ok()) << status;
}

std::vector<Daemon> Ring(int n, NeighbourTimes times = {}) {
  std::vector<Daemon> daemons(static_cast<size_t>(n));
  for (Daemon& daemon : daemons) daemon.watch = MustListen(times);
  return daemons;
}

void JoinAll(std::vector<Daemon>& daemons, Generation generation = Generation(1)) {
  int n = static_cast<int>(daemons.size());
  for (int i = 0; i < n; ++i) {
    Join(daemons[static_cast<size_t>(i)], i, n, daemons[static_cast<size_t>((i + 1) % n)].watch->port(),
         generation);
  }
}

TEST(NeighbourFrame, AHelloSurvivesItsBytesInAnyPieces) {
  NeighbourHello hello{.job = JobId("a job"), .generation = Generation(1ll << 40), .rank = Rank(513)};
  std::string all = EncodeNeighbourHello(hello) + "PPA";
  std::string bytes;
  for (size_t i = 0; i < all.size() - 3; ++i) {
    absl::StatusOr<std::optional<NeighbourHello>> early = TakeNeighbourHello(bytes);
    ASSERT_TRUE(early.ok());
    EXPECT_FALSE(early->has_value()) << "after " << i << " bytes";
    bytes.push_back(all[i]);
  }
  bytes += "PPA";
  EXPECT_EQ(TakeNeighbourHello(bytes).value(), hello);
  EXPECT_EQ(bytes, "PPA");
  std::string noise = "GET / HTTP/1.1\r\n";
  EXPECT_FALSE(TakeNeighbourHello(noise).ok());
}

TEST(NeighbourWatch, ALivingRingStaysQuietAndAFinishedOneToo) {
  std::vector<Daemon> daemons = Ring(3);
  JoinAll(daemons);
  EXPECT_FALSE(daemons[0].loss.Wait(1.5).has_value());
  for (Daemon& daemon : daemons) daemon.watch->Stop();  // one after the other: each says good-bye first
  for (Daemon& daemon : daemons) EXPECT_FALSE(daemon.loss.Wait(0.3).has_value());
}

TEST(NeighbourWatch, TheNextGenerationCanUseTheSameListeners) {
  std::vector<Daemon> daemons = Ring(2);
  JoinAll(daemons);
  EXPECT_FALSE(daemons[0].loss.Wait(0.3).has_value());
  JoinAll(daemons, Generation(2));
  EXPECT_FALSE(daemons[0].loss.Wait(1.3).has_value());
  EXPECT_FALSE(daemons[1].loss.Wait(0.1).has_value());
}

// A whole daemon process in a child, so that its end and its standstill are the kernel's.
class ChildDaemon {
 public:
  // The child is daemon 1 of a ring of `n` whose daemon 0 is the caller; it reports its port through a pipe.
  ChildDaemon(int n, int port_of_next) {
    int ends[2];
    EXPECT_EQ(pipe(ends), 0);
    pid_ = fork();
    if (pid_ == 0) {
      Daemon self;
      self.watch = MustListen();
      int port = self.watch->port();
      if (write(ends[1], &port, sizeof port) != sizeof port) _exit(1);
      Join(self, 1, n, port_of_next, Generation(1));
      while (true) pause();
    }
    EXPECT_EQ(read(ends[0], &port_, sizeof port_), static_cast<ssize_t>(sizeof port_));
    close(ends[0]);
    close(ends[1]);
  }
  ~ChildDaemon() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  int port() const { return port_; }
  void Signal(int signal) const { kill(pid_, signal); }

 private:
  pid_t pid_ = -1;
  int port_ = 0;
};

// Sends `signal` to one of two daemons and measures how long the other needs to report it.
void ExpectLostAfter(int signal, double seconds_max) {
  Daemon self;
  // The child is forked before this process has threads.
  int free_port = 0;
  {
    absl::StatusOr<Descriptor> probe = ListenOn(ResolveHost("127.0.0.1", 0).value(), 1);
    ASSERT_TRUE(probe.ok());
    free_port = LocalPort(*probe).value();
  }
  ChildDaemon child(2, free_port);
  absl::StatusOr<std::unique_ptr<NeighbourWatch>> watch = NeighbourWatch::Listen("127.0.0.1", free_port);
  ASSERT_TRUE(watch.ok()) << watch.status();
  self.watch = *std::move(watch);
  Join(self, 0, 2, child.port(), Generation(1));
  ASSERT_FALSE(self.loss.Wait(1.0).has_value());
  child.Signal(signal);
  Time begin = SteadyClock().Now();
  std::optional<std::pair<Rank, std::string>> lost = self.loss.Wait(seconds_max);
  double seconds = ToSeconds(SteadyClock().Now() - begin);
  ASSERT_TRUE(lost.has_value()) << "not reported within " << seconds_max << " s";
  EXPECT_EQ(lost->first, Rank(1));
  std::printf("signal %d: lost after %.3f s: %s\n", signal, seconds, lost->second.c_str());
}

// The figures are "at once" and 1 s; a deadline here is three times that.
TEST(NeighbourWatch, AKilledPeerIsLostAtOnce) { ExpectLostAfter(SIGKILL, 1.0); }
TEST(NeighbourWatch, ASilentPeerIsLostAfterASecond) { ExpectLostAfter(SIGSTOP, 3.0); }

TEST(NeighbourWatch, AMachineThatStoodStillLosesNobody) {
  int ports[2];
  for (int& port : ports) {
    absl::StatusOr<Descriptor> probe = ListenOn(ResolveHost("127.0.0.1", 0).value(), 1);
    port = LocalPort(probe.value()).value();
  }
  pid_t daemons[2];
  for (int i = 0; i < 2; ++i) {
    daemons[i] = fork();
    if (daemons[i] != 0) continue;
    absl::StatusOr<std::unique_ptr<NeighbourWatch>> watch = NeighbourWatch::Listen("127.0.0.1", ports[i]);
    if (!watch.ok()) _exit(1);
    Daemon self;
    self.watch = *std::move(watch);
    Join(self, i, 2, ports[1 - i], Generation(1));
    std::optional<std::pair<Rank, std::string>> lost = self.loss.Wait(60);
    std::fprintf(stderr, "daemon %d: %s\n", i, lost.has_value() ? lost->second.c_str() : "nothing lost");
    _exit(lost.has_value() ? 7 : 0);
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  for (pid_t pid : daemons) kill(pid, SIGSTOP);
  std::this_thread::sleep_for(std::chrono::milliseconds(2500));
  kill(daemons[0], SIGCONT);
  std::this_thread::sleep_for(std::chrono::milliseconds(200));  // one wakes up well before the other
  kill(daemons[1], SIGCONT);
  std::this_thread::sleep_for(std::chrono::milliseconds(1500));
  for (pid_t pid : daemons) {
    int status = 0;
    EXPECT_EQ(waitpid(pid, &status, WNOHANG), 0) << "ended with " << WEXITSTATUS(status);
  }
  for (pid_t pid : daemons) {
    kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
  }
}

TEST(NeighbourWatch, WhoOnlyLeftBecauseOfALossIsNotLostItself) {
  // 0 -> 1 -> 2 -> 0; daemon 1 is a bare socket that resets after it was met.
  std::vector<Daemon> daemons = Ring(3);
  daemons[1].watch.reset();
  Descriptor one = ListenOn(ResolveHost("127.0.0.1", 0).value(), 4).value();
  Join(daemons[0], 0, 3, LocalPort(one).value(), Generation(1));
  Join(daemons[2], 2, 3, daemons[0].watch->port(), Generation(1));
  Descriptor from_0;
  while (!from_0.valid()) from_0 = Accept(one);
  ASSERT_TRUE(SendAll(from_0, std::string(1, kNeighbourYes)).ok());
  Descriptor to_2 = StartConnect(ResolveHost("127.0.0.1", daemons[2].watch->port()).value()).value();
  std::string hello =
      EncodeNeighbourHello({.job = JobId("demo"), .generation = Generation(1), .rank = Rank(1)});
  while (!SendAll(to_2, hello).ok()) std::this_thread::yield();
  ASSERT_FALSE(daemons[0].loss.Wait(0.5).has_value());
  from_0.Close();
  std::optional<std::pair<Rank, std::string>> lost = daemons[0].loss.Wait(1.0);
  ASSERT_TRUE(lost.has_value());
  EXPECT_EQ(lost->first, Rank(1));
  // Daemon 2 hears of daemon 1's silence, never of daemon 0's leaving.
  lost = daemons[2].loss.Wait(3.0);
  ASSERT_TRUE(lost.has_value());
  EXPECT_EQ(lost->first, Rank(1)) << lost->second;
}

TEST(NeighbourWatch, APeerThatNeverComesIsLostWhenTheMeetingTimeIsOver) {
  std::vector<Daemon> daemons = Ring(2, {.meet_max = Seconds(0.5)});
  Join(daemons[0], 0, 2, daemons[1].watch->port(), Generation(1));  // daemon 1 is not in the generation
  std::optional<std::pair<Rank, std::string>> lost = daemons[0].loss.Wait(1.5);
  ASSERT_TRUE(lost.has_value());
  EXPECT_NE(lost->second.find("within 0.5 s"), std::string::npos) << lost->second;
}

TEST(NeighbourWatch, AStrangerIsNotTakenForTheNeighbour) {
  std::vector<Daemon> daemons = Ring(2, {.meet_max = Seconds(0.5)});
  Join(daemons[0], 0, 2, daemons[1].watch->port(), Generation(3));
  Join(daemons[1], 1, 2, daemons[0].watch->port(), Generation(2));
  EXPECT_TRUE(daemons[0].loss.Wait(1.5).has_value());
  EXPECT_TRUE(daemons[1].loss.Wait(1.5).has_value());
}

TEST(NeighbourWatch, AnAddressOfAnotherShapeIsRefused) {
  std::unique_ptr<NeighbourWatch> watch = MustListen();
  for (const char* address : {"", "here", ":1", "127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:x"}) {
    NeighbourRing ring{.job = JobId("demo"),
                       .generation = Generation(1),
                       .self = Rank(0),
                       .next = Rank(1),
                       .next_address = address,
                       .previous = Rank(1)};
    EXPECT_EQ(watch->Watch(ring, nullptr).code(), absl::StatusCode::kInvalidArgument) << address;
  }
}

}  // namespace
}  // namespace ballast
