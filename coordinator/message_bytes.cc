#include "coordinator/message_bytes.h"

#include <grpcpp/impl/codegen/proto_utils.h>

#include <variant>

#include "base/check.h"
#include "wire/convert_session.h"

namespace ballast {

grpc::ByteBuffer MessageBytes::Of(const CoordinatorMessage& message) {
  if (const auto* assign = std::get_if<Assign>(&message)) {
    MutexLock lock(mutex_);
    return Share(*assign, assign_);
  }
  if (const auto* stage = std::get_if<Stage>(&message)) {
    MutexLock lock(mutex_);
    return Share(*stage, stage_);
  }
  return ToBytes(ToProto(message));
}

template <class Message>
grpc::ByteBuffer MessageBytes::Share(const Message& message, Shared& shared) {
  if (shared.plan != message.plan || !(shared.stamp == message.stamp)) {
    shared = {message.stamp, message.plan, ToBytes(ToProto(CoordinatorMessage(message)))};
  }
  return shared.bytes;
}

grpc::ByteBuffer ToBytes(const v1::CoordinatorMessage& message) {
  grpc::ByteBuffer bytes;
  bool own_buffer = false;
  const grpc::Status status =
      grpc::SerializationTraits<v1::CoordinatorMessage>::Serialize(message, &bytes, &own_buffer);
  BALLAST_CHECK(status.ok()) << status.error_message();
  return bytes;
}

absl::StatusOr<v1::WorkerMessage> FromBytes(grpc::ByteBuffer& bytes) {
  v1::WorkerMessage message;
  if (!grpc::SerializationTraits<v1::WorkerMessage>::Deserialize(&bytes, &message).ok()) {
    return absl::InvalidArgumentError("found bytes that are no message of this protocol");
  }
  return message;
}

}  // namespace ballast
