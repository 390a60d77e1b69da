// Driver: the one thread that owns the coordinator's core and its store.
//
// Services post what they hear into a bounded mailbox; the thread feeds the core and carries out its actions
// in order, so that nothing is sent before the write it depends on is durable. Every other method may be
// called from any thread.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include "base/mailbox.h"
#include "coordinator/core.h"
#include "coordinator/events.h"
#include "coordinator/load_log.h"
#include "coordinator/plan_threads.h"
#include "coordinator/store.h"
#include "coordinator/streams.h"

namespace ballast {

// Told on the driver's thread; must not block.
class DriverObserver {
 public:
  virtual ~DriverObserver() = default;
  virtual void OnStoreCommit(Duration taken, bool ok) = 0;
  virtual void OnPublish(const WatchEvent& event, const Core& core, Time now) = 0;
};

// Of a plan's rollout: before and after the first message of a kind, and before it is known to be ACTIVE.
inline const std::vector<std::string>& DriverPlaces() {
  static const auto& places = *new std::vector<std::string>{"before-stage", "after-stage", "before-commit",
                                                            "after-commit", "before-active"};
  return places;
}

struct DriverOptions {
  CoreOptions core;
  Duration tick = Seconds(0.2);
  Duration reply_deadline = Seconds(10);
  size_t mailbox_max = 1 << 16;
  Failpoint failpoint;                 // at one of DriverPlaces
  DriverObserver* observer = nullptr;  // outlives the driver; null = none
  LoadLog* loads = nullptr;            // the same: recorded steps are not kept over a restart
};

class Driver {
 public:
  // `on_exit` is called once, on the driver's thread, when the core says that the process must end; it must
  // not block.
  Driver(std::unique_ptr<StateStore> store, DriverOptions options,
         std::function<void(const std::string&)> on_exit);
  ~Driver();
  Driver(const Driver&) = delete;
  Driver& operator=(const Driver&) = delete;

  // Takes leadership, loads the store and starts the thread. Any error: not leading, nothing started.
  absl::Status Start();

  // Ends every stream, watcher and waiting request, then the thread, then closes the store. Idempotent; not
  // to be called on the driver's thread.
  void Stop();

  // True from Start until Stop or Exit.
  bool running() const { return running_.load(); }

  // ---- workers ----
  StreamId NewStreamId() { return StreamId(next_stream_.fetch_add(1)); }
  // Known from now on: it is kept alive, and its end is told to the core.
  void Open(StreamId id, std::shared_ptr<WorkerStream> stream);
  // False when the mailbox is full: break the stream, since a message was lost.
  bool Attach(StreamId stream, Hello hello);
  bool Say(StreamId stream, WorkerMessage message);
  // The stream is closed(); looked at again on every tick, so this may be lost.
  void Ended(StreamId stream);

  // ---- operators ----
  // Runs on the driver's thread with the core's answer, Unavailable when the coordinator stops, or
  // DeadlineExceeded.
  using OnReply = std::function<void(const Reply& reply, const Core& core)>;
  // False when the mailbox is full or closed; `on_reply` is then never called, else exactly once.
  bool Ask(std::function<Event(ReplyToken)> make_event, OnReply on_reply);
  // Runs `read` on the driver's thread, or with null when the coordinator stops before. False as above.
  bool Read(std::function<void(const Core*)> read);
  // The watcher gets the job's state and then its updates, or an End with NotFound. False as above.
  bool Watch(JobId job, std::shared_ptr<JobWatcher> watcher);

 private:
  struct OpenItem {
    StreamId id;
    std::shared_ptr<WorkerStream> stream;
  };
  struct AskItem {
    std::function<Event(ReplyToken)> make_event;
    OnReply on_reply;
  };
  struct ReadItem {
    std::function<void(const Core*)> read;
  };
  struct WatchItem {
    JobId job;
    std::shared_ptr<JobWatcher> watcher;
  };
  using Item = std::variant<Event, OpenItem, AskItem, ReadItem, WatchItem>;
  struct Waiting {
    OnReply on_reply;
    Time deadline;
  };

  void Loop();
  void Handle(Item item);
  void HandleItem(Event event);
  void HandleItem(OpenItem item);
  void HandleItem(AskItem item);
  void HandleItem(ReadItem item);
  void HandleItem(WatchItem item);
  void Tick();
  // Nothing here depends on the wall clock but the times that people read: they are told when it was set.
  void WatchWallClock();
  void Feed(Event event);
  // False when the rest of the list must not be carried out.
  bool CarryOut(Action& action);
  bool CarryOutOne(const StoreWrite& write);
  bool CarryOutOne(const Send& send);
  bool CarryOutOne(const CloseStream& close);
  bool CarryOutOne(const Reply& reply);
  bool CarryOutOne(const Publish& publish);
  bool CarryOutOne(const Note& note);
  bool CarryOutOne(const AcquireLeadership& acquire);
  bool CarryOutOne(const MakePlan& make);
  bool CarryOutOne(const GiveUpPlan& give_up);
  bool CarryOutOne(const Exit& exit);
  void KeepLoad(const StepEvent& event);
  void Tell(const JobId& job, const JobUpdate& update, bool last);
  void TellWatchers(const JobEvent& event);
  absl::StatusOr<LeadershipWon> Lead(Term at_least);
  void PassFailpoint(const CoordinatorMessage& message);
  void PassFailpoint(const StoreWrite& write) const;
  void EndAll();
  Now ReadClocks() const;

  const DriverOptions options_;
  const std::function<void(const std::string&)> on_exit_;
  Mailbox<Item> mailbox_;
  std::atomic<bool> running_{false};
  std::atomic<int64_t> next_stream_{1};

  // The thread's own, and Start's before there is one.
  std::unique_ptr<StateStore> store_;
  Core core_;
  std::map<StreamId, std::shared_ptr<WorkerStream>> streams_;
  std::map<ReplyToken, Waiting> waiting_;
  std::map<JobId, std::vector<std::shared_ptr<JobWatcher>>> watchers_;
  int64_t next_token_ = 1;
  Time next_tick_;
  Now ticked_;  // at the last tick
  bool exited_ = false;
  std::vector<Event> queued_;  // results of actions, fed before the mailbox's next item
  PlanVersion staging_;        // for the failpoint
  PlanVersion committing_;     // the same
  PlanThreads plans_;

  std::thread thread_;
};

}  // namespace ballast
