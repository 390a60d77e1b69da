// What the driver writes to: workers' streams and the streams of those who watch a job. The services
// implement them.
#pragma once

#include <string>
#include <variant>

#include "base/clock.h"
#include "coordinator/events.h"
#include "coordinator/records.h"
#include "coordinator/status.h"
#include "protocol/messages.h"

namespace ballast {

// One attachment of one worker. Every method may be called from any thread and never blocks.
class WorkerStream {
 public:
  virtual ~WorkerStream() = default;
  // Queues; a message that does not fit breaks the stream. After a Refused the stream ends.
  virtual void Send(const CoordinatorMessage& message) = 0;
  // Ends the stream when what is queued has been written.
  virtual void Close(const std::string& reason) = 0;
  // Sends a heartbeat when nothing was sent lately; breaks a stream from which nothing came for the lease.
  virtual void KeepAlive(Time now) = 0;
  // Nothing more will come from it or go to it.
  virtual bool closed() const = 0;
};

// A plan changed its state, or tells something.
struct PlanUpdate {
  PlanRecord plan;  // plan->plan is null for a proposal that was not accepted
  Step step;
  std::string text;
  bool alarm = false;  // something is wrong with the plan
};
// A JobEvent is one of another kind than these.
using JobUpdate = std::variant<JobStatus, StepPoint, PlanUpdate, EvaluationPoint, JobEvent>;

// One who watches a job. Every method may be called from any thread and never blocks.
class JobWatcher {
 public:
  virtual ~JobWatcher() = default;
  // Steps may be dropped, oldest first, when the watcher is slow; everything else arrives or the stream
  // breaks.
  virtual void Send(const JobUpdate& update) = 0;
  // After the last update. OK: the job has reached a final state.
  virtual void End(const absl::Status& status) = 0;
  virtual bool closed() const = 0;
};

}  // namespace ballast
