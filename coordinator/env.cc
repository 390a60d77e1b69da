#include "coordinator/env.h"

#include <set>

namespace ballast {

void Env::Tell(JobEntry& job, JobEvent::Kind kind, std::string text, Step step, PlanVersion version) {
  const JobEvent& event = job.events.Add({.job = job.name(),
                                          .number = 0,
                                          .unix_ms = now.unix_ms,
                                          .kind = kind,
                                          .step = step,
                                          .version = version,
                                          .text = std::move(text)});
  for (auto action = actions.rbegin(); action != actions.rend(); ++action) {
    auto* write = std::get_if<StoreWrite>(&*action);
    if (write == nullptr) continue;
    for (JobEvent& unwritten : job.events.TakeUnwritten())
      write->transaction.writes.push_back(std::move(unwritten));
    break;
  }
  actions.push_back(Publish{event});
}

void Env::StoreEvents(JobEntry& job) {
  std::vector<RecordWrite> writes;
  for (JobEvent& event : job.events.TakeUnwritten()) writes.push_back(std::move(event));
  if (!writes.empty()) Store(std::move(writes));
}

void Env::SendToMembers(const JobEntry& job, CoordinatorMessage message) {
  const auto shared = std::make_shared<const CoordinatorMessage>(std::move(message));
  std::set<StreamId> streams;
  for (const Member& member : job.generation.members) {
    const StreamId stream = workers.StreamOf(member.worker, member.incarnation);
    if (stream.value() > 0 && streams.insert(stream).second) Send(stream, shared);
  }
}

}  // namespace ballast
