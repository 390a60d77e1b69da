// Plan files for pushing, made from what is active.
#pragma once

#include <cstdint>

#include "ballast/v1/control.pb.h"
#include "ballast/v1/plan_file.pb.h"

namespace ballast {

// Every expert of every layer goes one rank further; ranks that host r's experts are r + 1's, cyclically.
// Moves slots alone: no expert gains or loses a replica.
v1::PlanFile RotateExperts(const v1::Plan& active);

// Also moves the first `blocks` blocks that rank `from` owns to `to`.
void MoveHomes(const v1::Plan& active, int from, int to, int blocks, v1::PlanFile& file);

}  // namespace ballast
