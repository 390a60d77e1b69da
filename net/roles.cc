#include "net/roles.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace ballast {

const std::map<std::string, std::set<Role>>& RoleTable() {
  static const auto& table = *new std::map<std::string, std::set<Role>>{
      {"/ballast.v1.Session/Attach", {Role::kWorker}},
      {"/ballast.v1.Control/SubmitJob", {Role::kOperator}},
      {"/ballast.v1.Control/ListJobs", {Role::kOperator}},
      {"/ballast.v1.Control/GetJob", {Role::kOperator}},
      {"/ballast.v1.Control/WatchJob", {Role::kOperator}},
      {"/ballast.v1.Control/StopJob", {Role::kOperator}},
      {"/ballast.v1.Control/CheckpointJob", {Role::kOperator}},
      {"/ballast.v1.Control/ListCheckpoints", {Role::kOperator}},
      {"/ballast.v1.Control/ListEvents", {Role::kOperator}},
      {"/ballast.v1.Control/ListPlans", {Role::kOperator}},
      {"/ballast.v1.Control/GetPlan", {Role::kOperator}},
      {"/ballast.v1.Control/ExplainPlan", {Role::kOperator}},
      {"/ballast.v1.Control/PushPlan", {Role::kOperator}},
      {"/ballast.v1.Control/RollbackPlan", {Role::kOperator}},
      {"/ballast.v1.Control/GetTelemetry", {Role::kOperator}},
      {"/ballast.v1.Control/GetLoad", {Role::kOperator}},
      {"/ballast.v1.Control/GetTokens", {Role::kOperator}},
      {"/ballast.v1.Control/ListWorkers", {Role::kOperator}},
      {"/ballast.v1.Control/DrainWorker", {Role::kOperator}},
      {"/ballast.v1.Control/CordonWorker", {Role::kOperator}},
      {"/ballast.v1.Control/Adopt", {Role::kOperator}},
      {"/ballast.v1.Control/ListStrategies", {Role::kOperator, Role::kWorker}},
      {"/ballast.v1.Control/GetVersion", {Role::kOperator, Role::kWorker}},
  };
  return table;
}

absl::Status CheckRole(const std::string& method, const Identity& identity) {
  auto entry = RoleTable().find(method);
  std::vector<std::string> allowed;
  if (entry != RoleTable().end()) {
    if (identity.role == Role::kAnyone || entry->second.count(identity.role) > 0) return absl::OkStatus();
    for (Role role : entry->second) allowed.push_back(Name(role));
  }
  return absl::PermissionDeniedError(
      absl::StrCat(method, ": called by ", Name(identity.role), "/", identity.name,
                   "; allowed: ", allowed.empty() ? "nobody" : absl::StrJoin(allowed, ", ")));
}

}  // namespace ballast
