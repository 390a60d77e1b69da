// Compressor: how rows are written on the wire.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "base/registry.h"
#include "worker/backend/backend.h"

namespace ballast {

// Stateless; methods may be called from any thread with different streams.
class Compressor {
 public:
  virtual ~Compressor() = default;
  virtual std::string name() const = 0;
  // Bytes on the wire for rows x columns elements of the backend's type.
  virtual size_t Bytes(const Backend& backend, int64_t rows, int64_t columns) const = 0;
  virtual void Compress(Backend& backend, Stream& stream, Matrix in, void* out) const = 0;
  virtual void Decompress(Backend& backend, Stream& stream, const void* in, Matrix out) const = 0;
  // Largest |decompressed - x| / |x| for finite x; 0 = exact.
  virtual double RelativeErrorBound() const = 0;
};

using CompressorPtr = std::shared_ptr<const Compressor>;

// "none", "bf16".
const Registry<CompressorPtr>& Compressors();

}  // namespace ballast
