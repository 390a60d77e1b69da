// The all-to-all algorithms of this build, for the register file and their tests.
#pragma once

#include "worker/schedule/all_to_all.h"

namespace ballast {

AllToAllPtr MakeDirect();
AllToAllPtr MakeRails();
AllToAllPtr MakeTwoLevel();

}  // namespace ballast
