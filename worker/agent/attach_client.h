// One attempt at a session stream, from the worker's side.
#pragma once

#include <grpcpp/grpcpp.h>

#include <functional>
#include <memory>
#include <variant>

#include "absl/status/status.h"
#include "ballast/v1/session.grpc.pb.h"

namespace ballast {

// What a stream tells the agent.
struct StreamRead {
  v1::CoordinatorMessage message;
};
struct StreamWritten {};
struct StreamEnded {};  // nothing more will be read; LetGo, and StreamDone will come
struct StreamDone {
  absl::Status status;
};
using StreamEvent = std::variant<StreamRead, StreamWritten, StreamEnded, StreamDone>;

// A channel of its own (so that every attempt looks the name up again) with one Attach call on it. All
// methods are called by the agent's thread; `tell` is called on gRPC's threads and must not block. One read
// and one write are under way at most: the next read begins with ReadNext, a write is over with
// StreamWritten. StreamDone comes last and once; only then may the object be destroyed.
class AttachClient {
 public:
  using Tell = std::function<void(StreamEvent)>;
  static std::unique_ptr<AttachClient> Begin(const std::string& target,
                                             const std::shared_ptr<grpc::ChannelCredentials>& credentials,
                                             Tell tell);
  virtual ~AttachClient() = default;
  virtual void ReadNext() = 0;
  virtual void Write(v1::WorkerMessage message) = 0;
  // No more writes: the stream ends in good order when the coordinator has read everything. No write may be
  // under way.
  virtual void WritesDone() = 0;
  // Ends the stream at once. Nothing else may be called after it.
  virtual void Cancel() = 0;
  // The answer to StreamEnded: nothing else will be called.
  virtual void LetGo() = 0;
};

}  // namespace ballast
