// CUDA's types as the host sees them: named, not included.
#pragma once

struct __nv_bfloat16;
struct CUevent_st;
struct CUstream_st;

namespace ballast::kernels {

using BFloat16 = __nv_bfloat16;
// The order in which a launcher's kernels run; launchers only enqueue.
using Stream = CUstream_st*;
// A point in that order.
using Event = CUevent_st*;

}  // namespace ballast::kernels
