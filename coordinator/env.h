// Env: what every decision of the core works with: the time, the term, the workers, and the list of actions
// to append to.
#pragma once

#include <set>
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

  // Durable before everything that is appended later.
  void Store(std::vector<RecordWrite> writes) { actions.push_back(StoreWrite{{term, std::move(writes)}}); }
  void Send(StreamId stream, CoordinatorMessage message) {
    actions.push_back(ballast::Send{stream, std::move(message)});
  }
  void Tell(const JobEntry& job, JobEvent::Kind kind, std::string text, Step step = {},
            PlanVersion version = {}) {
    actions.push_back(Publish{JobEvent{job.name(), kind, step, version, std::move(text)}});
  }
  void Log(std::string text, bool warning = false) { actions.push_back(Note{std::move(text), warning}); }

  Stamp StampOf(const JobEntry& job) const { return {term, job.name(), job.record.generation}; }
  // To every member of the job's generation that is attached; who is not gets it after its next Hello.
  void SendToMembers(const JobEntry& job, const CoordinatorMessage& message) {
    std::set<StreamId> streams;
    for (const Member& member : job.generation.members) {
      const StreamId stream = workers.StreamOf(member.worker, member.incarnation);
      if (stream.value() > 0 && streams.insert(stream).second) Send(stream, message);
    }
  }
};

}  // namespace ballast
