// Membership: which worker daemons there are and over which stream each is attached.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "base/ids.h"
#include "coordinator/events.h"
#include "coordinator/status.h"
#include "protocol/messages.h"

namespace ballast {

// All fields are derived: a new leader learns them from the workers.
struct WorkerEntry {
  Hello hello;      // the newest
  StreamId stream;  // 0 = detached
  Step step;        // last completed, as far as known
  PlanVersion active;
  int64_t reports_dropped = 0;  // by this process, as it said last
  std::string leaving{};        // why it wants to end (SetLeaving): gets no work; empty = it does not
  bool silent = false;  // did not leave a generation in time: gets no work before it has said something
  bool attached() const { return stream.value() > 0; }
};

class Membership {
 public:
  // OK, or why the worker is refused. `retry` says whether waiting may help.
  struct Admission {
    std::string refusal;  // empty = admitted
    bool retry = false;
    StreamId replaced;  // the older stream of the same process; 0 = none
  };
  // Attaches the worker over `stream`. A process that attaches again replaces its own stream; a second
  // process of one name waits until the first one's stream is closed.
  Admission Attach(StreamId stream, const Hello& hello);
  // The worker stays known. Null when the stream is not the current one of any worker.
  const WorkerEntry* Detach(StreamId stream);

  // The worker of a current stream, or null.
  WorkerEntry* OfStream(StreamId stream);
  WorkerEntry* Find(const WorkerId& worker);
  // The stream over which exactly this process is attached; 0 = none.
  StreamId StreamOf(const WorkerId& worker, Incarnation incarnation) const;
  // Whether people keep work from it; of any name.
  bool cordoned(const WorkerId& worker) const { return cordoned_.count(worker) > 0; }
  void SetCordoned(const WorkerId& worker, bool cordoned) {
    if (cordoned) {
      cordoned_.insert(worker);
    } else {
      cordoned_.erase(worker);
    }
  }
  void SetLeaving(WorkerEntry& worker, const std::string& reason) {
    worker.leaving = reason;
    leaving_.insert(worker.hello.worker);
  }
  // The names of those that want to leave.
  const std::set<WorkerId>& leaving() const { return leaving_; }
  // By name.
  const std::map<WorkerId, WorkerEntry>& workers() const { return workers_; }

 private:
  std::map<WorkerId, WorkerEntry> workers_;
  std::map<StreamId, WorkerId> streams_;
  std::set<WorkerId> cordoned_;
  std::set<WorkerId> leaving_;
};

// Gives `ranks` ranks to the attached workers of `idle` in the order given, a worker's ranks neighbours.
// Empty when there are not enough.
std::vector<Member> AssignRanks(const std::vector<const WorkerEntry*>& idle, int ranks);

}  // namespace ballast
