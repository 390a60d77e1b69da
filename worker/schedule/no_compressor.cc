// none: rows as they are in memory.
#include "worker/schedule/compressors.h"

namespace ballast {
namespace {

class NoCompressor final : public Compressor {
 public:
  std::string name() const override { return "none"; }
  size_t Bytes(const Backend& backend, int64_t rows, int64_t columns) const override {
    return static_cast<size_t>(rows * columns) * backend.element_bytes();
  }
  void Compress(Backend& backend, Stream& stream, Matrix in, void* out) const override {
    backend.Copy(stream, out, in.data, Bytes(backend, in.rows, in.columns));
  }
  void Decompress(Backend& backend, Stream& stream, const void* in, Matrix out) const override {
    backend.Copy(stream, out.data, in, Bytes(backend, out.rows, out.columns));
  }
  bool IsIdentity(const Backend&) const override { return true; }
  double RelativeErrorBound() const override { return 0; }
};

}  // namespace

CompressorPtr MakeNoCompressor() { return std::make_shared<NoCompressor>(); }

}  // namespace ballast
