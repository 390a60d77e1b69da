#include "coordinator/membership.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "protocol/version.h"

namespace ballast {

Membership::Admission Membership::Attach(StreamId stream, const Hello& hello) {
  if (hello.protocol_version != kProtocolVersion) {
    return {.refusal = absl::StrCat("protocol version: worker ", hello.worker.value(), " speaks ",
                                    hello.protocol_version, ", this coordinator speaks ", kProtocolVersion),
            .retry = false,
            .replaced = {}};
  }
  if (hello.worker.empty() || hello.ranks < 1) {
    return {.refusal = absl::StrCat("ranks: found ", hello.ranks, " for worker \"", hello.worker.value(),
                                    "\", allowed 1.. and a name"),
            .retry = false,
            .replaced = {}};
  }
  WorkerEntry& worker = workers_[hello.worker];
  Admission admission;
  if (worker.attached()) {
    if (worker.hello.incarnation != hello.incarnation) {
      return {.refusal = absl::StrCat("another process named ", hello.worker.value(),
                                      " is attached; this one is let in when"
                                      " that one is gone"),
              .retry = true,
              .replaced = {}};
    }
    admission.replaced = worker.stream;
    streams_.erase(worker.stream);
  }
  leaving_.erase(hello.worker);  // it says so again
  worker = WorkerEntry{.hello = hello, .stream = stream, .step = hello.step, .active = hello.active};
  streams_[stream] = hello.worker;
  return admission;
}

const WorkerEntry* Membership::Detach(StreamId stream) {
  auto it = streams_.find(stream);
  if (it == streams_.end()) return nullptr;
  WorkerEntry& worker = workers_[it->second];
  worker.stream = StreamId();
  streams_.erase(it);
  return &worker;
}

WorkerEntry* Membership::OfStream(StreamId stream) {
  auto it = streams_.find(stream);
  return it == streams_.end() ? nullptr : &workers_[it->second];
}

WorkerEntry* Membership::Find(const WorkerId& worker) {
  auto it = workers_.find(worker);
  return it == workers_.end() ? nullptr : &it->second;
}

StreamId Membership::StreamOf(const WorkerId& worker, Incarnation incarnation) const {
  auto it = workers_.find(worker);
  return it != workers_.end() && it->second.hello.incarnation == incarnation ? it->second.stream : StreamId();
}

std::vector<Member> AssignRanks(const std::vector<const WorkerEntry*>& idle, int ranks) {
  std::vector<Member> members;
  for (const WorkerEntry* worker : idle) {
    const int taken = std::min(worker->hello.ranks, ranks - static_cast<int>(members.size()));
    for (int local_rank = 0; local_rank < taken; ++local_rank) {
      members.push_back(Member{.rank = Rank(static_cast<int>(members.size())),
                               .worker = worker->hello.worker,
                               .incarnation = worker->hello.incarnation,
                               .local_rank = local_rank,
                               .node = worker->hello.node,
                               .data_address = worker->hello.data_address,
                               .neighbour_address = worker->hello.neighbour_address,
                               .host = worker->hello.host,
                               .probe_address = worker->hello.probe_address});
    }
    if (static_cast<int>(members.size()) == ranks) return members;
  }
  return {};
}

}  // namespace ballast
