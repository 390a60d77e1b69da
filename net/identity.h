// Who is at the other end of a connection, from the certificate it showed.
#pragma once

#include <ostream>
#include <string>

#include "absl/status/statusor.h"

namespace grpc {
class AuthContext;
}

namespace ballast {

// Identities are URIs in the certificate's subject alternative names: spiffe://ballast/worker/<name>,
// spiffe://ballast/operator/<name>.
inline constexpr char kSpiffePrefix[] = "spiffe://ballast/";

enum class Role {
  kWorker,
  kOperator,
  kAnyone,  // plaintext, where no identity is known: such a peer may do everything, which is what --insecure
            // warns of
};
const char* Name(Role role);

struct Identity {
  Role role = Role::kAnyone;
  std::string name;  // empty for kAnyone
  friend bool operator==(const Identity&, const Identity&) = default;
};
std::ostream& operator<<(std::ostream& out, const Identity& identity);

// "spiffe://ballast/worker/w0" -> {worker, w0}. PermissionDenied says what was found and what is allowed. A
// name is 1 to 63 letters, digits, '.', '_' and '-'.
absl::StatusOr<Identity> ParseSpiffe(const std::string& uri);

// The one ballast identity of the peer; PermissionDenied for none or for several. `insecure` says that this
// process serves plaintext (never guessed from the context: a certificate without any name looks like no
// certificate there).
absl::StatusOr<Identity> PeerIdentity(const grpc::AuthContext& context, bool insecure);

}  // namespace ballast
