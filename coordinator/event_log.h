// EventLog: what happened to one job, numbered, the newest kEventsMax; the store keeps the same.
#pragma once

#include <deque>
#include <string>
#include <vector>

#include "coordinator/records.h"
#include "coordinator/store.h"

namespace ballast {

class EventLog {
 public:
  // Numbers the event, cuts a text that is too long, and keeps it; it is not written yet.
  const JobEvent& Add(JobEvent event);
  // As the store has it, in rising order, before anything is added.
  void Restore(JobEvent event);
  // Rising numbers.
  const std::deque<JobEvent>& events() const { return events_; }
  // Those that are not in the store yet, each once.
  std::vector<JobEvent> TakeUnwritten();

 private:
  void Keep(JobEvent event);

  std::deque<JobEvent> events_;
  int64_t unwritten_ = 0;  // of the newest
};

}  // namespace ballast
