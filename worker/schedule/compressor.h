// Compressor: how rows are written on the wire.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "base/registry.h"
#include "worker/backend/backend.h"

namespace ballast {

// Stateless; methods may be called from any thread with different streams.
class Compressor {
 public:
  virtual ~Compressor() = default;
  virtual std::string name() const = 0;
  // Bytes on the wire for rows x columns elements of the backend's type; proportional to the rows.
  virtual size_t Bytes(const Backend& backend, int64_t rows, int64_t columns) const = 0;
  virtual void Compress(Backend& backend, Stream& stream, Matrix in, void* out) const = 0;
  virtual void Decompress(Backend& backend, Stream& stream, const void* in, Matrix out) const = 0;
  // Runs of rows; moves[i].to counts rows of the wire buffer.
  void CompressRuns(Backend& backend, Stream& stream, Matrix in, std::span<const RowMove> moves,
                    void* out) const;
  // moves[i].from counts rows of the wire buffer, which has `rows`.
  void DecompressRuns(Backend& backend, Stream& stream, const void* in, int64_t rows,
                      std::span<const RowMove> moves, Matrix out) const;
  // Whether rows on the wire are as they are in memory.
  virtual bool IsIdentity(const Backend& backend) const = 0;
  // Largest |decompressed - x| / |x| for finite x; 0 = exact.
  virtual double RelativeErrorBound() const = 0;
};

using CompressorPtr = std::shared_ptr<const Compressor>;

// "none", "bf16".
const Registry<CompressorPtr>& Compressors();

}  // namespace ballast
