// Network: the streams between worker daemons and coordinators.
//
// A message can be late, doubled, out of order, or lost; a lost one breaks its stream, because real streams
// lose nothing // silently. Both ends of a broken stream learn of it after a while. In late scenarios, what
// was on its way or is said before the end is noticed may still arrive, over the next stream of the same
// worker, as if a queue had been sent again.
#pragma once

#include <functional>
#include <map>
#include <vector>

#include "coordinator/events.h"
#include "protocol/messages.h"
#include "sim/world.h"

namespace ballast::sim {

// Worker and coordinator processes are numbered.
struct Ends {
  int worker = 0;
  int coordinator = 0;
  int64_t life = 0;  // which process of that worker
};

class Network {
 public:
  struct Handlers {
    std::function<void(int coordinator, Event)> to_coordinator;
    // Nothing that was for one process of a worker reaches another one.
    std::function<void(const Ends&, StreamId, const CoordinatorMessage&)> to_worker;
    std::function<void(const Ends&, StreamId)> closed_at_worker;
  };
  Network(World& world, Handlers handlers) : world_(world), handlers_(std::move(handlers)) {}

  // A new stream whose first message is `hello`.
  StreamId Connect(Ends ends, const Hello& hello);
  void ToCoordinator(StreamId stream, const WorkerMessage& message);
  void ToWorker(StreamId stream, const CoordinatorMessage& message);
  // Both ends see the stream end, each after a while.
  void Break(StreamId stream);
  // The process is gone: its streams break, and it sees nothing more.
  void CoordinatorGone(int coordinator);

 private:
  struct Stream {
    Ends ends;
    bool broken = false;
    bool open_at_worker = true;
    bool open_at_coordinator = true;
    Micros first_to_coordinator = 0;  // arrival of the Hello: nothing overtakes it
    Micros last_to_coordinator = 0;   // arrivals, for streams in order
    Micros last_to_worker = 0;
    Micros assign_to_worker =
        0;  // arrival of the last Assign: no rendezvous value overtakes it, the host relies on that
  };
  Micros Arrival(Micros& last);
  void DeliverToCoordinator(StreamId stream, const WorkerMessage& message);
  void DeliverToWorker(StreamId stream, const CoordinatorMessage& message);
  // The newest stream of that worker process that is open at both ends; 0 = none.
  StreamId CurrentOf(const Ends& ends) const;

  World& world_;
  const Handlers handlers_;
  std::map<StreamId, Stream> streams_;
};

}  // namespace ballast::sim
