// Who may call what: one table for all RPCs, asked at the head of every handler.
#pragma once

#include <map>
#include <set>
#include <string>

#include "absl/status/status.h"
#include "net/identity.h"

namespace ballast {

// "/ballast.v1.Control/SubmitJob" -> the roles that may call it. Every RPC of both services has an entry; a
// test compares the table with their descriptors. gRPC's own health and reflection services are open to every
// peer that the authority has signed.
const std::map<std::string, std::set<Role>>& RoleTable();

// OK if `identity` may call `method`; PermissionDenied says who asked and which roles are allowed. A method
// without an entry is allowed to nobody.
absl::Status CheckRole(const std::string& method, const Identity& identity);

}  // namespace ballast
