#include "sim/network.h"

#include <algorithm>

namespace ballast::sim {

Micros Network::Arrival(Micros& last) {
  const Micros latency_max = world_.faults() ? world_.scenario.latency_us_max
                                             : std::min<Micros>(world_.scenario.latency_us_max, 5'000);
  Micros arrival = world_.queue.now() + 1 + world_.UpTo(latency_max);
  if (world_.scenario.in_order || !world_.faults()) arrival = std::max(arrival, last + 1);
  last = std::max(last, arrival);
  return arrival;
}

StreamId Network::Connect(Ends ends, const Hello& hello) {
  const StreamId id(static_cast<int64_t>(streams_.size()) + 1);
  Stream& stream = streams_[id];
  stream.ends = ends;
  stream.first_to_coordinator = Arrival(stream.last_to_coordinator);
  world_.Say(hello.worker.value(), [&] {
    return absl::StrCat("connects, stream ", id.value(), " to c", ends.coordinator, ": ",
                        ToString(WorkerMessage(hello)));
  });
  world_.queue.In(stream.first_to_coordinator - world_.queue.now(), [this, id, hello] {
    const Stream& opened = streams_.at(id);
    if (opened.open_at_coordinator)
      handlers_.to_coordinator(opened.ends.coordinator, WorkerAttached{id, hello});
  });
  return id;
}

void Network::ToCoordinator(StreamId id, const WorkerMessage& message) {
  Stream& stream = streams_.at(id);
  if (stream.broken && !world_.scenario.late) return;
  if (world_.Trouble(world_.scenario.reset)) return Break(id);
  const int copies = world_.Trouble(world_.scenario.duplicate) ? 2 : 1;
  for (int i = 0; i < copies; ++i) {
    const Micros arrival = std::max(Arrival(stream.last_to_coordinator), stream.first_to_coordinator + 1);
    world_.queue.In(arrival - world_.queue.now(), [this, id, message] { DeliverToCoordinator(id, message); });
  }
}

void Network::DeliverToCoordinator(StreamId id, const WorkerMessage& message) {
  const Stream& stream = streams_.at(id);
  if (stream.open_at_coordinator)
    return handlers_.to_coordinator(stream.ends.coordinator, WorkerSaid{id, message});
  if (!world_.scenario.late) return;
  const StreamId current = CurrentOf(stream.ends);
  if (current.value() == 0 || world_.queue.now() <= streams_.at(current).first_to_coordinator) {
    if (!world_.faults()) return;
    return world_.queue.In(1 + world_.UpTo(50'000),
                           [this, id, message] { DeliverToCoordinator(id, message); });
  }
  handlers_.to_coordinator(streams_.at(current).ends.coordinator, WorkerSaid{current, message});
}

void Network::ToWorker(StreamId id, const CoordinatorMessage& message) {
  Stream& stream = streams_.at(id);
  if (stream.broken && !world_.scenario.late) return;
  if (world_.Trouble(world_.scenario.reset)) return Break(id);
  const int copies = world_.Trouble(world_.scenario.duplicate) ? 2 : 1;
  for (int i = 0; i < copies; ++i) {
    Micros arrival = Arrival(stream.last_to_worker);
    if (std::holds_alternative<Assign>(message)) stream.assign_to_worker = arrival;
    if (std::holds_alternative<RendezvousValue>(message))
      arrival = std::max(arrival, stream.assign_to_worker + 1);
    world_.queue.In(arrival - world_.queue.now(), [this, id, message] { DeliverToWorker(id, message); });
  }
}

void Network::DeliverToWorker(StreamId id, const CoordinatorMessage& message) {
  const Stream& stream = streams_.at(id);
  if (stream.open_at_worker || world_.scenario.late) handlers_.to_worker(stream.ends, id, message);
}

void Network::Break(StreamId id) {
  Stream& stream = streams_.at(id);
  if (stream.broken) return;
  stream.broken = true;
  world_.Say("net", [&] { return absl::StrCat("stream ", id.value(), " breaks"); });
  world_.queue.In(1 + world_.UpTo(200'000), [this, id] {
    Stream& closed = streams_.at(id);
    if (!std::exchange(closed.open_at_worker, false)) return;
    handlers_.closed_at_worker(closed.ends, id);
  });
  world_.queue.In(1 + world_.UpTo(200'000), [this, id] {
    Stream& closed = streams_.at(id);
    if (!std::exchange(closed.open_at_coordinator, false)) return;
    handlers_.to_coordinator(closed.ends.coordinator, StreamClosed{id});
  });
}

void Network::CoordinatorGone(int coordinator) {
  for (auto& [id, stream] : streams_) {
    if (stream.ends.coordinator != coordinator) continue;
    stream.open_at_coordinator = false;
    Break(id);
  }
}

StreamId Network::CurrentOf(const Ends& ends) const {
  for (auto it = streams_.rbegin(); it != streams_.rend(); ++it) {
    const Stream& stream = it->second;
    if (stream.ends.worker == ends.worker && stream.ends.life == ends.life && stream.open_at_worker &&
        stream.open_at_coordinator)
      return it->first;
  }
  return StreamId();
}

}  // namespace ballast::sim
