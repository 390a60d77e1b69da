// Versions of the programs and of the worker <-> coordinator protocol. Of the protocol, both sides refuse
// another one at Hello, with both numbers in the text.
#pragma once

namespace ballast {
inline constexpr char kVersion[] = "0.1.0";
inline constexpr int kProtocolVersion = 2;
}  // namespace ballast
