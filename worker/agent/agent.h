// Agent: keeps the daemon attached to the coordinator. One thread owns everything of gRPC.
//
// A broken stream is opened again by our own loop (full-jitter back-off, a new channel and so a new look at
// the name every time): training goes on meanwhile, and no rank ever waits for this thread.
#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "base/mailbox.h"
#include "worker/agent/attach_client.h"
#include "worker/agent/backoff.h"
#include "worker/daemon/session_host.h"

namespace ballast {

struct AgentOptions {
  std::string target;  // HOST:PORT
  std::shared_ptr<grpc::ChannelCredentials> credentials;
  Duration retry_first = Seconds(0.1);
  Duration retry_longest = Seconds(5);
  // How often a coordinator may break our very first handshakes before that is taken for a wrong certificate.
  int handshakes_max = 5;
  Duration farewell_max = Seconds(3);  // for the last words to be written when stopping
  int protocol_version = 0;            // 0 = ours; a test says another one
  uint64_t seed = 0;                   // of the jitter
};

class Agent {
 public:
  // `host` must outlive the agent; its wake must call Wake().
  Agent(AgentOptions options, SessionHost* host);

  // Runs until Stop or until the coordinator refuses this process for good: PermissionDenied, Unauthenticated
  // or FailedPrecondition with the reason. OK after Stop.
  absl::Status Run();

  // From any thread.
  void Wake();
  // Run returns when what waits has been written, or after farewell_max.
  void Stop();

 private:
  struct WakeUp {};
  struct FromStream {
    int64_t attempt;
    StreamEvent event;
  };
  using Item = std::variant<WakeUp, FromStream>;

  void BeginStream();
  void Handle(FromStream item);
  void OnRead(const v1::CoordinatorMessage& message);
  void OnDone(const absl::Status& status);
  void Pump();
  void Watch(Time now);
  void Break(const std::string& reason);
  bool Farewell(Time now);

  const AgentOptions options_;
  SessionHost* const host_;
  Mailbox<Item> mailbox_;
  std::atomic<bool> wake_posted_{false};
  std::atomic<bool> stopping_{false};

  // The thread's own.
  Backoff backoff_;
  int64_t attempt_ = 0;
  std::unique_ptr<AttachClient> stream_;
  bool open_ = false;  // reads and writes make sense: not cancelled, not ended
  bool writing_ = false;
  bool welcomed_ = false;  // this stream
  bool ever_welcomed_ = false;
  int broken_handshakes_ = 0;
  Duration heartbeat_{};  // 0 = none
  Duration lease_{};
  Time heard_;
  Time written_;
  Time next_attempt_;
  Time stop_by_;
  bool said_writes_done_ = false;
  bool ended_ = false;
  absl::Status result_;
  std::string last_trouble_;  // logged when it changes
};

}  // namespace ballast
