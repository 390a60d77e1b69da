// ballastctl plan ...: one function per command. A job that is not named is the only one there is.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "ctl/context.h"

namespace ballast {

absl::Status PlanList(const Context& context, const std::string& job);

struct PlanShowArguments {
  std::string job;
  int64_t version = 0;  // 0 = the active one
};
absl::Status PlanShow(const Context& context, const PlanShowArguments& arguments);

struct PlanPushArguments {
  std::string job;
  std::string file;
  bool dry_run = false;  // the coordinator says what would change, and changes nothing
  bool wait = false;     // until the plan is active
};
absl::Status PlanPush(const Context& context, const PlanPushArguments& arguments);

struct PlanRollbackArguments {
  std::string job;
  int64_t to_version = 0;  // 0 = the one that was active before the present one
  bool wait = false;
};
absl::Status PlanRollback(const Context& context, const PlanRollbackArguments& arguments);

}  // namespace ballast
