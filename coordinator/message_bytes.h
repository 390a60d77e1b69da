// MessageBytes: messages of the session stream as the bytes that gRPC writes.
//
// Assign and Stage are large and the same for every worker of a generation, so their bytes are made once and
// shared: what hundreds of streams have waiting is then one buffer, and a push costs one conversion.
#pragma once

#include <grpcpp/support/byte_buffer.h>

#include "absl/status/statusor.h"
#include "ballast/v1/session.pb.h"
#include "base/mutex.h"
#include "protocol/messages.h"

namespace ballast {

// Thread-safe.
class MessageBytes {
 public:
  grpc::ByteBuffer Of(const CoordinatorMessage& message) EXCLUDES(mutex_);

 private:
  // The last one of its kind. Within a term and a generation the plan alone tells two of them apart.
  struct Shared {
    Stamp stamp;
    PlanPtr plan;  // kept, so that no other plan can come to lie at its address
    grpc::ByteBuffer bytes;
  };
  template <class Message>
  grpc::ByteBuffer Share(const Message& message, Shared& shared) REQUIRES(mutex_);

  Mutex mutex_;
  Shared assign_ GUARDED_BY(mutex_);
  Shared stage_ GUARDED_BY(mutex_);
};

grpc::ByteBuffer ToBytes(const v1::CoordinatorMessage& message);
// InvalidArgument when the bytes are no message.
absl::StatusOr<v1::WorkerMessage> FromBytes(grpc::ByteBuffer& bytes);

}  // namespace ballast
