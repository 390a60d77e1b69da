// The check at the head of every handler: who calls, and may they?
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "net/identity.h"

namespace grpc {
class CallbackServerContext;
}

namespace ballast {

// The caller's identity when the role table lets it call `method` ("/ballast.v1.Control/GetJob");
// PermissionDenied else.
absl::StatusOr<Identity> Admit(const grpc::CallbackServerContext& context, const std::string& method,
                               bool insecure);

}  // namespace ballast
