// Version of the worker <-> coordinator protocol. Both sides refuse another one at Hello, with both numbers in the text.
#pragma once

namespace ballast {
inline constexpr int kProtocolVersion = 1;
}  // namespace ballast
