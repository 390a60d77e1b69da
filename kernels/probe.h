// Whether the kernels of this build run on the current device.
#pragma once

namespace ballast::kernels {

// False when the device is of a kind that this build has no machine code for.
bool RunsOnCurrentDevice();

}  // namespace ballast::kernels
