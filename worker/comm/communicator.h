// Communicator: messages between the ranks of one generation.
//
// Operations only enqueue and return a Pending; Wait says how it went. A lost peer is a Status, never a hang.
// Every rank enqueues every operation in the same order, also with zero bytes. The rank's own thread calls
// everything but Abort().
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "base/clock.h"
#include "base/ids.h"
#include "plan/topology.h"
#include "worker/backend/backend.h"

namespace ballast {

struct SendOp {
  Rank to;
  const void* data = nullptr;
  size_t bytes = 0;
};
struct RecvOp {
  Rank from;
  void* data = nullptr;
  size_t bytes = 0;
};

// An operation under way. Buffers must stay as they are until Wait returned.
class Pending {
 public:
  virtual ~Pending() = default;
};

struct CommStats {
  int64_t operations = 0;     // exchanges and all-gathers enqueued
  int64_t messages_sent = 0;  // to other ranks, of more than 0 bytes
  int64_t bytes_sent = 0;     // to other ranks
  double wait_seconds = 0;    // in Wait and Drain; what is followed is not waited for
};

// Traffic with one other rank.
struct PeerStats {
  int64_t bytes_sent = 0;
  int64_t bytes_received = 0;
  // Sum over the operations in which something came from it: from enqueueing until its message had been
  // seen. Where completion is an event on a device: from the stream's coming to the operation until the whole
  // of it had run, counted by the next Wait or Drain that ends after it.
  double receive_seconds = 0;
  // Messages from it whose transfer can be told from waiting (NextBeginsTogether): how many, what came over
  // this rank's port while they did, theirs included, and how long they took from the exchange's beginning.
  int64_t timed_messages = 0;
  int64_t timed_bytes = 0;
  double timed_seconds = 0;
};

class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual Rank rank() const = 0;
  virtual int size() const = 0;

  // Grouped send and receive. At most one op per peer and direction; what a peer sends here must be what is
  // received there, byte for byte. Zero-byte ops may be left out on both sides. An op to itself is a copy.
  virtual std::unique_ptr<Pending> Exchange(Stream& stream, std::vector<SendOp> sends,
                                            std::vector<RecvOp> recvs) = 0;

  // The next exchange begins on all ranks at once, as nearly as it can: they go there from an operation that
  // ended only when all had come to it. What is received then says how long messages travel; in other
  // exchanges a late one may as well have had a late sender. The topology says whose messages share a port,
  // and must stay as it is until the exchange is enqueued. To be called by all or none.
  virtual void NextBeginsTogether(const Topology& /*topology*/) {}

  // Every rank's bytes to every rank, as one exchange: rank r's part, bytes[r] long, lands at
  // out + sum(bytes[0..r)). `bytes` is equal on all ranks.
  std::unique_ptr<Pending> AllGather(Stream& stream, const void* in, const std::vector<size_t>& bytes,
                                     void* out);

  // OK; Aborted after Abort(); Unavailable naming the peer when one is lost; DeadlineExceeded. After anything
  // but OK the communicator is dead: every later operation fails at once.
  virtual absl::Status Wait(Pending& pending, Time deadline) = 0;

  // As Wait, for the stream alone: what is enqueued on it from now on finds the data. Returns at once where
  // completion is an event on a device; buffers then stay as they are until the stream has come past, and a
  // failure is told by a later call that waits.
  virtual absl::Status Follow(Pending& pending, Time deadline) { return Wait(pending, deadline); }

  // Until everything enqueued on the stream has run; the errors of Wait. Goes before Backend::Synchronize
  // wherever an operation was followed, as that would wait for a lost peer without end.
  virtual absl::Status Drain(Stream& /*stream*/, Time /*deadline*/) { return absl::OkStatus(); }

  // The communicator of the same ranks that brings new weights to slots and states to new homes; this one
  // where there is no other. It is aborted with this one.
  virtual Communicator& refresh() { return *this; }

  // Wakes every Wait within 100 ms. From any thread, any number of times.
  virtual void Abort(const std::string& reason) = 0;

  // Since construction; of the rank's own thread.
  virtual CommStats stats() const = 0;
  virtual const std::vector<PeerStats>& peers() const = 0;  // [rank]; zeros for itself
};

}  // namespace ballast
