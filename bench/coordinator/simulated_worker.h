// A worker without ranks: a real stream, reports made up, and a promise for every plan, unseen: hundreds of
// them share a machine with the coordinator that is measured, where real ones would look at the plan side by
// side.
#pragma once

#include <grpcpp/grpcpp.h>

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "bench/coordinator/light_stream.h"
#include "protocol/messages.h"

namespace ballast {

// What all workers together have come to. Thread-safe.
class Progress {
 public:
  void Welcomed() { Count(welcomed_); }
  void Started() { Count(started_); }
  // The newest plan's Staged is on its way to the coordinator.
  void Promised(PlanVersion version) { Count(promised_[version.value() & 1]); }
  // The worker knows that every rank has promised the plan.
  void Committed(PlanVersion version) { Count(committed_[version.value() & 1]); }
  void Broken(const std::string& what);
  // Before plan `version` is pushed.
  void Expect(PlanVersion version);

  // False after `seconds` or when a stream broke.
  bool WaitWelcomed(int n, double seconds) { return Wait(welcomed_, n, seconds); }
  bool WaitStarted(int n, double seconds) { return Wait(started_, n, seconds); }
  bool WaitPromised(PlanVersion v, int n, double seconds) {
    return Wait(promised_[v.value() & 1], n, seconds);
  }
  bool WaitCommitted(PlanVersion v, int n, double seconds) {
    return Wait(committed_[v.value() & 1], n, seconds);
  }
  std::string broken();

 private:
  void Count(int& counter);
  bool Wait(const int& counter, int n, double seconds);

  std::mutex mutex_;
  std::condition_variable changed_;
  int welcomed_ = 0, started_ = 0;
  int promised_[2] = {}, committed_[2] = {};  // by the version's last bit
  std::string broken_;
};

// Its methods may be called from any thread.
class SimulatedWorker {
 public:
  SimulatedWorker(int index, Progress* progress);
  SimulatedWorker(const SimulatedWorker&) = delete;

  void Attach(const std::string& target, const std::shared_ptr<grpc::ChannelCredentials>& credentials);
  // The attempt ended before it was welcomed: Attach again.
  bool refused();
  // Keeps the lease while there is nothing to report.
  void Heartbeat();
  // As its rank would after a step.
  void Report(RankReport report);
  void Report(StepReport report);
  // Its rank's fence has decided the plan and runs it from `step` on.
  void Switch(PlanVersion version, Step step);
  void Detach();

  static std::string Name(int index) { return "w" + std::to_string(index); }

 private:
  void OnEvent(LightEvent event);
  void OnMessage(const LightMessage& message);
  void Send(v1::WorkerMessage message);
  void Pump();

  const int index_;
  Progress* const progress_;
  std::mutex mutex_;
  v1::Stamp stamp_;  // of the newest message
  int rank_ = -1;
  int64_t plan_ = 0;  // that runs
  std::unique_ptr<LightStream> stream_;
  std::vector<std::unique_ptr<LightStream>> ended_streams_;  // their last callback may still be returning
  std::deque<v1::WorkerMessage> outgoing_;
  bool welcomed_ = false;
  bool writing_ = false;
  bool leaving_ = false;
  bool done_ = false;  // the stream has ended
  std::condition_variable ended_;
};

}  // namespace ballast
