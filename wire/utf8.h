// UTF-8, checked by the letter of RFC 3629.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace ballast {

// Offset of the first byte that does not begin or continue a valid sequence (no overlong forms, no
// surrogates, nothing above U+10FFFF); npos when all is valid.
size_t FirstInvalidUtf8(const std::string& text);

// Requires a code point of Unicode that is no surrogate.
void AppendUtf8(uint32_t code_point, std::string* out);

}  // namespace ballast
