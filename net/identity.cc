#include "net/identity.h"

#include <grpc/grpc_security_constants.h>
#include <grpcpp/security/auth_context.h>

#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/status_macros.h"

namespace ballast {
namespace {

constexpr size_t kNameLengthMax = 63;

bool IsName(absl::string_view text) {
  if (text.empty() || text.size() > kNameLengthMax) return false;
  for (char c : text) {
    if (!absl::ascii_isalnum(static_cast<unsigned char>(c)) && c != '.' && c != '_' && c != '-') return false;
  }
  return true;
}

}  // namespace

const char* Name(Role role) {
  switch (role) {
    case Role::kWorker:
      return "worker";
    case Role::kOperator:
      return "operator";
    case Role::kAnyone:
      return "anyone";
  }
  return "?";
}

std::ostream& operator<<(std::ostream& out, const Identity& identity) {
  return out << Name(identity.role) << "/" << identity.name;
}

absl::StatusOr<Identity> ParseSpiffe(const std::string& uri) {
  absl::string_view rest = uri;
  if (absl::ConsumePrefix(&rest, kSpiffePrefix)) {
    for (Role role : {Role::kWorker, Role::kOperator}) {
      absl::string_view name = rest;
      if (absl::ConsumePrefix(&name, Name(role)) && absl::ConsumePrefix(&name, "/") && IsName(name)) {
        return Identity{.role = role, .name = std::string(name)};
      }
    }
  }
  return absl::PermissionDeniedError(absl::StrCat("certificate identity \"", absl::CHexEscape(uri),
                                                  "\": allowed are ", kSpiffePrefix, "worker/<name> and ",
                                                  kSpiffePrefix, "operator/<name>"));
}

absl::StatusOr<Identity> PeerIdentity(const grpc::AuthContext& context, bool insecure) {
  if (insecure) return Identity{};
  std::optional<std::string> found;
  for (const grpc::string_ref& value : context.FindPropertyValues(GRPC_PEER_URI_PROPERTY_NAME)) {
    std::string uri(value.data(), value.size());
    if (!absl::StartsWith(uri, kSpiffePrefix)) continue;
    if (found.has_value()) {
      return absl::PermissionDeniedError(absl::StrCat("the certificate carries two identities, \"", *found,
                                                      "\" and \"", uri, "\"; allowed is one"));
    }
    found = std::move(uri);
  }
  if (!found.has_value()) {
    return absl::PermissionDeniedError(absl::StrCat("the certificate carries no identity; allowed are ",
                                                    kSpiffePrefix, "worker/<name> and ", kSpiffePrefix,
                                                    "operator/<name> as subject alternative names"));
  }
  return ParseSpiffe(*found);
}

}  // namespace ballast
