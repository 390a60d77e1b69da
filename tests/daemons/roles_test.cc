#include "net/roles.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "ballast/v1/control.pb.h"
#include "ballast/v1/session.pb.h"

namespace ballast {
namespace {

// Full method names of all services that these two files declare.
std::set<std::string> AllMethods() {
  std::set<std::string> methods;
  for (const google::protobuf::FileDescriptor* file :
       {v1::Hello::descriptor()->file(), v1::SubmitJobRequest::descriptor()->file()}) {
    for (int s = 0; s < file->service_count(); ++s) {
      for (int m = 0; m < file->service(s)->method_count(); ++m) {
        methods.insert("/" + file->service(s)->full_name() + "/" + file->service(s)->method(m)->name());
      }
    }
  }
  return methods;
}

TEST(RoleTable, HasAnEntryForEveryRpcAndForNothingElse) {
  std::set<std::string> methods = AllMethods();
  EXPECT_GE(methods.size(), 14u);
  std::set<std::string> entries;
  for (const auto& [method, roles] : RoleTable()) {
    entries.insert(method);
    EXPECT_FALSE(roles.empty()) << method;
  }
  EXPECT_EQ(entries, methods);
}

TEST(RoleTable, TheSessionIsForWorkersAndChangesAreForOperators) {
  Identity worker{.role = Role::kWorker, .name = "w0"};
  Identity person{.role = Role::kOperator, .name = "me"};
  EXPECT_TRUE(CheckRole("/ballast.v1.Session/Attach", worker).ok());
  absl::Status refused = CheckRole("/ballast.v1.Session/Attach", person);
  EXPECT_EQ(refused.code(), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(refused.message(), "/ballast.v1.Session/Attach: called by operator/me; allowed: worker");
  for (const std::string& method : AllMethods()) {
    if (method.find("/ballast.v1.Control/") != 0) continue;
    EXPECT_TRUE(CheckRole(method, person).ok()) << method;
    bool reads_only_what_is_public =
        method.find("ListStrategies") != std::string::npos || method.find("GetVersion") != std::string::npos;
    EXPECT_EQ(CheckRole(method, worker).ok(), reads_only_what_is_public) << method;
  }
}

TEST(RoleTable, AnUnknownMethodIsForNobody) {
  EXPECT_EQ(CheckRole("/ballast.v1.Control/Nuke", {.role = Role::kOperator, .name = "me"}).message(),
            "/ballast.v1.Control/Nuke: called by operator/me; allowed: nobody");
  EXPECT_FALSE(CheckRole("/ballast.v1.Control/Nuke", {}).ok());
}

}  // namespace
}  // namespace ballast
