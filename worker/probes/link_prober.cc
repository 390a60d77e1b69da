#include "worker/probes/link_prober.h"

#include <poll.h>

#include <algorithm>
#include <atomic>
#include <optional>
#include <thread>
#include <utility>

#include "base/mutex.h"
#include "base/status_macros.h"
#include "worker/neighbours/socket.h"
#include "worker/probes/visit.h"

namespace ballast {
namespace {

constexpr int kBacklog = 64;
constexpr int kLookMs = 100;

Time Now() { return SteadyClock().Now(); }

// One direction: sizes rise until a message takes too long.
absl::StatusOr<LinkEstimate> Climb(const std::function<absl::StatusOr<double>(int64_t bytes)>& time) {
  std::vector<ProbeSample> samples;
  for (int64_t bytes : kProbeSizes) {
    BALLAST_ASSIGN_OR_RETURN(const double seconds, time(bytes));
    samples.push_back({bytes, seconds});
    if (seconds > kProbeMessageSecondsMax) break;
  }
  return EstimateLink(samples);
}

class Prober final : public LinkProber {
 public:
  Prober(Descriptor listener, int port, ProbeTimes times)
      : listener_(std::move(listener)),
        port_(port),
        times_(times),
        answering_([this] { AnswerAll(); }),
        probing_([this] { ProbeAll(); }) {}

  ~Prober() override {
    ending_ = true;
    {
      MutexLock lock(mutex_);
      work_.reset();
      ++orders_;
      changed_.SignalAll();
    }
    answering_.join();
    probing_.join();
  }

  int port() const override { return port_; }

  void Begin(ProbeDuty duty, OnResult on_result) override EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    work_ = Work{std::move(duty), std::move(on_result)};
    ++orders_;
    changed_.SignalAll();
  }

  void Stop() override EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    work_.reset();
    ++orders_;
    changed_.SignalAll();
    while (busy_) changed_.Wait(mutex_);
  }

 private:
  struct Work {
    ProbeDuty duty;
    OnResult on_result;
  };

  void AnswerAll() {
    while (!ending_) {
      pollfd waiting{listener_.get(), POLLIN, 0};
      if (poll(&waiting, 1, kLookMs) <= 0) continue;
      Descriptor socket = Accept(listener_);
      if (!socket.valid()) continue;
      ProbeConnection visitor(std::move(socket), times_.dial_max, [this] { return ending_.load(); });
      // Whatever a stranger says, it costs this thread a visit's time at most.
      visitor.Answer(Now() + times_.visit_max).IgnoreError();
    }
  }

  void ProbeAll() EXCLUDES(mutex_) {
    uint64_t seen = 0;
    size_t next = 0;  // target
    while (true) {
      std::optional<Work> work;
      {
        MutexLock lock(mutex_);
        busy_ = false;
        changed_.SignalAll();
        while (!ending_ && !work_.has_value()) changed_.Wait(mutex_);
        if (ending_) return;
        work = work_;
        if (seen != orders_) next = 0;
        seen = orders_;
        busy_ = true;
      }
      const Time begin = Now();
      const size_t count = std::min(work->duty.targets.size(), kProbeTargetsMax);
      for (size_t i = 0; i < count && Current(seen); ++i) {
        ProbeOne(*work, work->duty.targets[next++ % work->duty.targets.size()], seen);
        Sleep(Now() + times_.pause, seen);
      }
      Sleep(begin + times_.period, seen);
    }
  }

  void ProbeOne(const Work& work, const ProbeTarget& target, uint64_t order) EXCLUDES(mutex_) {
    absl::StatusOr<LinkFigures> figures = ProbePeer(target.address, times_, [&] { return !Current(order); });
    if (!Current(order)) return;
    const Rank self = work.duty.self;
    std::vector<LinkProbe> links;
    if (figures.ok()) {
      links.push_back(
          {self, target.rank, figures->there.latency_seconds, figures->there.bytes_per_second, ""});
      links.push_back({target.rank, self, figures->back.latency_seconds, figures->back.bytes_per_second, ""});
    } else {
      links.push_back({self, target.rank, 0, 0, std::string(figures.status().message())});
    }
    work.on_result(std::move(links));
  }

  bool Current(uint64_t order) EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    return orders_ == order && !ending_;
  }

  void Sleep(Time until, uint64_t order) EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    while (orders_ == order && !ending_ && Now() < until) changed_.WaitUntil(mutex_, until);
  }

  const Descriptor listener_;
  const int port_;
  const ProbeTimes times_;
  std::atomic<bool> ending_{false};

  Mutex mutex_;
  CondVar changed_;
  std::optional<Work> work_ GUARDED_BY(mutex_);
  uint64_t orders_ GUARDED_BY(mutex_) = 0;  // counts Begin and Stop
  bool busy_ GUARDED_BY(mutex_) = false;    // the probing thread may call on_result_

  std::thread answering_;
  std::thread probing_;
};

}  // namespace

absl::StatusOr<LinkFigures> ProbePeer(const std::string& address, const ProbeTimes& times,
                                      const std::function<bool()>& cancelled) {
  BALLAST_ASSIGN_OR_RETURN(ProbeConnection peer, ProbeConnection::Dial(address, times.dial_max, cancelled));
  LinkFigures figures;
  BALLAST_ASSIGN_OR_RETURN(figures.there, Climb([&](int64_t bytes) { return peer.TimeThere(bytes); }));
  BALLAST_ASSIGN_OR_RETURN(figures.back, Climb([&](int64_t bytes) { return peer.TimeBack(bytes); }));
  return figures;
}

absl::StatusOr<std::unique_ptr<LinkProber>> LinkProber::Listen(const std::string& host, ProbeTimes times) {
  BALLAST_ASSIGN_OR_RETURN(SocketAddress address, ResolveHost(host, 0));
  BALLAST_ASSIGN_OR_RETURN(Descriptor listener, ListenOn(address, kBacklog));
  BALLAST_ASSIGN_OR_RETURN(int port, LocalPort(listener));
  return std::make_unique<Prober>(std::move(listener), port, times);
}

}  // namespace ballast
