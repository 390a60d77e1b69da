// Messages of the session stream <-> protobuf.
//
// FromProto is safe for hostile input: InvalidArgument with the field for an empty message, a missing part, a
// negative id, an unknown kind or (in Assign) an invalid job. A Heartbeat has no value: look at
// message_case() first.
#pragma once

#include <optional>

#include "absl/status/statusor.h"
#include "ballast/v1/session.pb.h"
#include "protocol/messages.h"

namespace ballast {

v1::WorkerMessage ToProto(const WorkerMessage& message);
absl::StatusOr<WorkerMessage> FromProto(const v1::WorkerMessage& message);

// Welcome's heartbeat and lease are the session service's to fill in. Commit's planted_not_before does not
// travel.
v1::CoordinatorMessage ToProto(const CoordinatorMessage& message);
absl::StatusOr<CoordinatorMessage> FromProto(const v1::CoordinatorMessage& message);

// A Stage that FromProto refused with `why`, as far as it can be read: enough to answer it. Nothing for
// another message, or when stamp or version cannot be read either.
std::optional<UnreadableStage> AsUnreadableStage(const v1::CoordinatorMessage& message,
                                                 const absl::Status& why);

v1::Member ToProto(const Member& member);
absl::StatusOr<Member> FromProto(const v1::Member& member);

}  // namespace ballast
