// SHA-256 (FIPS 180-4), written from the standard: it shares no code with worker/checkpoint.
#pragma once

#include <string>

namespace ballast {

// In hexadecimal.
std::string IndependentSha256(const std::string& bytes);

}  // namespace ballast
