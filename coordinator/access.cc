#include "coordinator/access.h"

#include <grpcpp/grpcpp.h>

#include "base/log.h"
#include "base/status_macros.h"
#include "net/roles.h"

namespace ballast {

absl::StatusOr<Identity> Admit(const grpc::CallbackServerContext& context, const std::string& method,
                               bool insecure) {
  absl::StatusOr<Identity> identity = PeerIdentity(*context.auth_context(), insecure);
  absl::Status status = identity.ok() ? CheckRole(method, *identity) : identity.status();
  if (status.ok()) return identity;
  Log(LogLevel::kWarning, "refused", {{"peer", context.peer()}, {"reason", std::string(status.message())}});
  return status;
}

}  // namespace ballast
