#include "worker/schedule/compressors.h"

namespace ballast {

const Registry<CompressorPtr>& Compressors() {
  static const auto& registry = *[] {
    auto* r = new Registry<CompressorPtr>("compressor");
    r->Add("bf16", "rounded to bfloat16: half the bytes of float, relative error up to 2^-8",
           MakeBf16Compressor());
    r->Add("none", "rows as they are", MakeNoCompressor());
    return r;
  }();
  return registry;
}

}  // namespace ballast
