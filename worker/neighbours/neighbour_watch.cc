#include "worker/neighbours/neighbour_watch.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <list>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/mutex.h"
#include "base/status_macros.h"
#include "worker/neighbours/frame.h"
#include "worker/neighbours/socket.h"

namespace ballast {
namespace {

constexpr int kBacklog = 64;
constexpr size_t kStrangersMax = 64;  // connections that have not said hello yet
constexpr size_t kUnreadBytesMax = 4096;
constexpr int kNiceness = -10;

Time Now() { return SteadyClock().Now(); }

// One of the two watched connections.
struct Link {
  Rank peer;
  Descriptor socket;
  bool connecting = false;  // dialled, not yet writable
  bool standing = false;    // hello answered: from now on a loss is a loss
  bool said_bye = false;    // the peer has finished
  std::string unread;
  Time heard;
  Time next_ping;
  Time next_dial;
};

// A connection that has not said hello yet.
struct Stranger {
  Descriptor socket;
  std::string unread;
  Time since;
};

class PollingWatch final : public NeighbourWatch {
 public:
  PollingWatch(Descriptor listener, int port, Descriptor wake_read, Descriptor wake_write,
               NeighbourTimes times)
      : listener_(std::move(listener)),
        port_(port),
        wake_read_(std::move(wake_read)),
        wake_write_(std::move(wake_write)),
        times_(times),
        thread_([this] { Loop(); }) {}

  ~PollingWatch() override {
    {
      MutexLock lock(mutex_);
      ending_ = true;
    }
    Wake();
    thread_.join();
  }

  int port() const override { return port_; }

  absl::Status Watch(NeighbourRing ring, OnLost on_lost) override {
    BALLAST_ASSIGN_OR_RETURN(SocketAddress address, ResolveHostPort(ring.next_address));
    Post({.ring = std::move(ring), .next_address = std::move(address), .on_lost = std::move(on_lost)});
    return absl::OkStatus();
  }

  void Stop() override { Post({}); }

 private:
  struct Command {
    std::optional<NeighbourRing> ring;  // nothing = stop
    SocketAddress next_address;
    OnLost on_lost;
  };

  // Returns when the thread has carried it out.
  void Post(Command command) EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    commands_.push_back(std::move(command));
    uint64_t mine = ++posted_;
    Wake();
    while (done_ < mine) carried_out_.Wait(mutex_);
  }

  void Wake() {
    char byte = 'w';
    ssize_t written = write(wake_write_.get(), &byte, 1);
    (void)written;  // a full pipe wakes just as well
  }

  void Loop() {
    // Best effort (it takes a privilege): a machine full of work should not make this daemon look dead.
    setpriority(PRIO_PROCESS, 0, kNiceness);
    awake_ = Now();
    while (TakeCommands()) {
      WaitForSockets();
      ForgiveOwnStall();
      AcceptStrangers();
      ReadStrangers();
      if (!ring_.has_value()) continue;
      Dial();
      Step(next_, "next");
      if (ring_.has_value()) Step(previous_, "previous");
    }
    SayBye();
  }

  // False when the watch is being destroyed.
  bool TakeCommands() EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    while (!commands_.empty()) {
      Begin(std::move(commands_.front()));
      commands_.pop_front();
      ++done_;
    }
    carried_out_.SignalAll();
    return !ending_;
  }

  void Begin(Command command) {
    SayBye();
    next_ = Link{};
    previous_ = Link{};
    ring_ = std::move(command.ring);
    on_lost_ = std::move(command.on_lost);
    next_address_ = std::move(command.next_address);
    if (!ring_.has_value()) return;
    next_.peer = ring_->next;
    previous_.peer = ring_->previous;
    meet_until_ = Now() + times_.meet_max;
  }

  void SayBye() {
    for (Link* link : {&next_, &previous_}) {
      // Also behind a hello that is not answered yet: the other side may have taken it already, and would
      // report a closed connection as a loss.
      if (link->socket.valid() && !link->connecting)
        SendAll(link->socket, std::string(1, kNeighbourBye)).IgnoreError();
    }
  }

  void WaitForSockets() {
    std::vector<pollfd> sockets = {{.fd = wake_read_.get(), .events = POLLIN, .revents = 0},
                                   {.fd = listener_.get(), .events = POLLIN, .revents = 0}};
    for (Link* link : {&next_, &previous_}) {
      if (!link->socket.valid()) continue;
      sockets.push_back({.fd = link->socket.get(),
                         .events = static_cast<short>(link->connecting ? POLLOUT : POLLIN),
                         .revents = 0});
    }
    for (const Stranger& stranger : strangers_) {
      sockets.push_back({.fd = stranger.socket.get(), .events = POLLIN, .revents = 0});
    }
    bool idle = !ring_.has_value() && strangers_.empty();
    int milliseconds =
        static_cast<int>(std::chrono::duration_cast<std::chrono::milliseconds>(PollWait()).count());
    poll(sockets.data(), sockets.size(), idle ? -1 : std::max(milliseconds, 1));
    char buffer[64];
    while (read(wake_read_.get(), buffer, sizeof buffer) > 0) {
    }
  }

  // Silence counts only while this thread was awake to hear it. A machine that stood still (a paused virtual
  // machine, say) would else wake up to find all its peers silent, before any of them had a chance to run.
  void ForgiveOwnStall() {
    Time now = Now();
    Duration stall = now - awake_ - PollWait();
    awake_ = now;
    if (stall <= PollWait()) return;
    for (Link* link : {&next_, &previous_}) link->heard += stall;
    meet_until_ += stall;
  }

  Duration PollWait() const { return std::min(times_.ping, times_.redial) / 2; }

  void AcceptStrangers() {
    while (true) {
      Descriptor socket = Accept(listener_);
      if (!socket.valid()) return;
      if (strangers_.size() < kStrangersMax) {
        strangers_.push_back({.socket = std::move(socket), .unread = {}, .since = Now()});
      }
    }
  }

  void ReadStrangers() {
    for (auto stranger = strangers_.begin(); stranger != strangers_.end();) {
      std::string detail;
      ReadResult result = ReadSome(stranger->socket, stranger->unread, detail);
      absl::StatusOr<std::optional<NeighbourHello>> hello = TakeNeighbourHello(stranger->unread);
      if (hello.ok() && hello->has_value()) {
        Greet(**hello, *stranger);
      } else if (hello.ok() && result != ReadResult::kClosed && Now() - stranger->since < times_.meet_max) {
        ++stranger;
        continue;
      }
      stranger = strangers_.erase(stranger);
    }
  }

  void Greet(const NeighbourHello& hello, Stranger& stranger) {
    bool expected = ring_.has_value() && hello.job == ring_->job && hello.generation == ring_->generation &&
                    hello.rank == ring_->previous && !previous_.standing;
    if (!SendAll(stranger.socket, std::string(1, expected ? kNeighbourYes : kNeighbourNotYet)).ok() ||
        !expected)
      return;
    previous_.socket = std::move(stranger.socket);
    previous_.unread = std::move(stranger.unread);
    Stand(previous_);
  }

  void Stand(Link& link) {
    link.standing = true;
    link.heard = Now();
    link.next_ping = Now();
  }

  void Dial() {
    if (!next_.socket.valid() && !next_.said_bye && Now() >= next_.next_dial) {
      next_.next_dial = Now() + times_.redial;
      next_.unread.clear();
      absl::StatusOr<Descriptor> socket = StartConnect(next_address_);
      if (!socket.ok()) return;
      next_.socket = *std::move(socket);
      next_.connecting = true;
    }
    if (!next_.connecting) return;
    pollfd ready{.fd = next_.socket.get(), .events = POLLOUT, .revents = 0};
    if (poll(&ready, 1, 0) <= 0) return;
    next_.connecting = false;
    NeighbourHello hello{.job = ring_->job, .generation = ring_->generation, .rank = ring_->self};
    if (ConnectError(next_.socket) != 0 || !SendAll(next_.socket, EncodeNeighbourHello(hello)).ok()) {
      next_.socket.Close();
    }
  }

  // Reads, answers, pings and judges one link.
  void Step(Link& link, const char* which) {
    std::string detail;
    ReadResult result = ReadResult::kNothing;
    if (link.socket.valid() && !link.connecting) {
      result = ReadSome(link.socket, link.unread, detail);
      if (result == ReadResult::kData) link.heard = Now();
    }
    Handle(link);
    if (link.said_bye) return;
    if (!link.standing) {
      if (result == ReadResult::kClosed) link.socket.Close();
      if (Now() >= meet_until_) {
        Lose(link, absl::StrFormat("no connection with the %s neighbour within %g s", which,
                                   ToSeconds(times_.meet_max)));
      }
      return;
    }
    if (result == ReadResult::kClosed || link.unread.size() > kUnreadBytesMax) return Lose(link, detail);
    if (Now() - link.heard > times_.silence_max) {
      return Lose(link, absl::StrFormat("no answer for %.1f s", ToSeconds(Now() - link.heard)));
    }
    if (Now() >= link.next_ping) {
      link.next_ping = Now() + times_.ping;
      // A failure is judged when the connection is read next: a good-bye may be waiting there.
      SendAll(link.socket, std::string(1, kNeighbourPing)).IgnoreError();
    }
  }

  void Handle(Link& link) {
    for (char c : std::exchange(link.unread, {})) {
      if (!link.standing) {
        if (c == kNeighbourYes) {
          Stand(link);
        } else {
          link.socket.Close();  // not yet: dial again
          return;
        }
      } else if (c == kNeighbourPing) {
        SendAll(link.socket, std::string(1, kNeighbourAnswer)).IgnoreError();
      } else if (c == kNeighbourBye) {
        link.said_bye = true;
        link.standing = false;
        link.socket.Close();
        return;
      }
    }
  }

  void Lose(const Link& link, const std::string& detail) {
    Rank peer = link.peer;
    OnLost on_lost = std::move(on_lost_);
    SayBye();  // else the other neighbour would report this daemon as lost
    ring_.reset();
    next_ = Link{};
    previous_ = Link{};
    if (on_lost) on_lost(peer, detail);
  }

  // Constant after construction.
  const Descriptor listener_;
  const int port_;
  const Descriptor wake_read_;
  const Descriptor wake_write_;
  const NeighbourTimes times_;

  Mutex mutex_;
  CondVar carried_out_;
  std::list<Command> commands_ GUARDED_BY(mutex_);
  uint64_t posted_ GUARDED_BY(mutex_) = 0;
  uint64_t done_ GUARDED_BY(mutex_) = 0;
  bool ending_ GUARDED_BY(mutex_) = false;

  // The thread's own.
  std::optional<NeighbourRing> ring_;
  OnLost on_lost_;
  SocketAddress next_address_;
  Time meet_until_;
  Time awake_;  // when the last poll returned
  Link next_;
  Link previous_;
  std::list<Stranger> strangers_;

  std::thread thread_;  // last: it starts when everything else is there
};

}  // namespace

absl::StatusOr<std::unique_ptr<NeighbourWatch>> NeighbourWatch::Listen(const std::string& host, int port,
                                                                       NeighbourTimes times) {
  BALLAST_ASSIGN_OR_RETURN(SocketAddress address, ResolveHost(host, port));
  absl::StatusOr<Descriptor> listener = ListenOn(address, kBacklog);
  if (!listener.ok()) {
    return absl::UnavailableError(absl::StrCat("neighbour listener on ", host, ":", port, ": ",
                                               std::string(listener.status().message())));
  }
  BALLAST_ASSIGN_OR_RETURN(int bound, LocalPort(*listener));
  int pipe_ends[2];
  if (pipe2(pipe_ends, O_CLOEXEC | O_NONBLOCK) != 0) {
    return absl::UnavailableError(absl::StrCat("pipe: ", std::strerror(errno)));
  }
  return std::make_unique<PollingWatch>(*std::move(listener), bound, Descriptor(pipe_ends[0]),
                                        Descriptor(pipe_ends[1]), times);
}

}  // namespace ballast
