// Env: what every decision of the core works with: the time, the term, the workers, and the list of actions
// to append to.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "coordinator/events.h"
#include "coordinator/job_entry.h"
#include "coordinator/membership.h"
#include "coordinator/options.h"

namespace ballast {

struct Env {
  Now now;
  Term term;
  const CoreOptions& options;
  Membership& workers;
  Actions& actions;
  std::optional<PlannerLook> look = {};  // that was made in this step

  // Durable before everything that is appended later.
  void Store(std::vector<RecordWrite> writes) { actions.push_back(StoreWrite{{term, std::move(writes)}}); }
  void Send(StreamId stream, CoordinatorMessage message) {
    Send(stream, std::make_shared<const CoordinatorMessage>(std::move(message)));
  }
  // What goes to many is made once: an Assign names all members.
  void Send(StreamId stream, std::shared_ptr<const CoordinatorMessage> message) {
    actions.push_back(ballast::Send{stream, std::move(message)});
  }
  // Adds to the job's event log and tells its watchers: the one way to say that something happened to a job.
  // The event joins the newest write of this step, so call Store with what it describes first; without one it
  // is written at the next tick.
  void Tell(JobEntry& job, JobEvent::Kind kind, std::string text, Step step = {}, PlanVersion version = {});
  // Writes the events that no write took along.
  void StoreEvents(JobEntry& job);
  void Log(std::string text, bool warning = false) { actions.push_back(Note{std::move(text), warning}); }

  Stamp StampOf(const JobEntry& job) const { return {term, job.name(), job.record.generation}; }
  // To every member of the job's generation that is attached; who is not gets it after its next Hello.
  void SendToMembers(const JobEntry& job, CoordinatorMessage message);
};

}  // namespace ballast
