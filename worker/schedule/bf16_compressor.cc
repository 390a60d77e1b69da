// bf16: the upper half of a float, rounded to nearest even; two bytes an element.
#include "worker/schedule/compressors.h"

namespace ballast {
namespace {

class Bf16Compressor final : public Compressor {
 public:
  std::string name() const override { return "bf16"; }
  size_t Bytes(const Backend&, int64_t rows, int64_t columns) const override {
    return static_cast<size_t>(rows * columns) * 2;
  }
  void Compress(Backend& backend, Stream& stream, Matrix in, void* out) const override {
    backend.ToBFloat16(stream, in.data, in.elements(), out);
  }
  void Decompress(Backend& backend, Stream& stream, const void* in, Matrix out) const override {
    backend.FromBFloat16(stream, in, out.elements(), out.data);
  }
  bool IsIdentity(const Backend& backend) const override { return backend.dtype() == DType::kBFloat16; }
  // 8 significant bits: half a unit in the last place of a number in [1, 2) is 2^-8. Subnormals of the 8-bit
  // exponent excepted.
  double RelativeErrorBound() const override { return 0x1.0p-8; }
};

}  // namespace

CompressorPtr MakeBf16Compressor() { return std::make_shared<Bf16Compressor>(); }

}  // namespace ballast
