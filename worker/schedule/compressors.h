// The compressors of this build, for the register file and their tests.
#pragma once

#include "worker/schedule/compressor.h"

namespace ballast {

CompressorPtr MakeNoCompressor();
CompressorPtr MakeBf16Compressor();

}  // namespace ballast
