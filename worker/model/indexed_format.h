// The constants of the indexed format that reader and writer share; indexed_dataset.h describes it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace ballast::indexed {

inline constexpr char kMagic[9] = {'M', 'M', 'I', 'D', 'I', 'D', 'X', '\0', '\0'};
inline constexpr uint64_t kVersion = 1;
inline constexpr uint8_t kU8 = 1;
inline constexpr uint8_t kI32 = 4;
inline constexpr uint8_t kU16 = 8;
// Magic, version, type, sequences, length of document_indices.
inline constexpr size_t kHeaderBytes = sizeof kMagic + 8 + 1 + 8 + 8;

}  // namespace ballast::indexed
