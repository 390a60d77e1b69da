#include "worker/backend/cuda/matmul.h"

#include <cublasLt.h>

#include <algorithm>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/device_error.h"
#include "kernels/check.h"
#include "kernels/grouped_gemm.h"
#include "worker/backend/backend.h"

namespace ballast {
namespace {

// What NVIDIA recommends for Hopper; more gains nothing.
constexpr size_t kWorkspaceBytes = size_t{32} << 20;
// cuBLASLt tells no better alignments apart.
constexpr uint32_t kAlignmentMax = 16;
// The kept choices are dropped together when there are this many.
constexpr size_t kPlansMax = 4096;
// Streams of independent products: enough that small ones fill the device together.
constexpr size_t kLanes = 4;

void Check(cublasStatus_t status, const char* call) {
  if (status != CUBLAS_STATUS_SUCCESS) {
    throw DeviceError(absl::StrCat(call, " failed with ", cublasLtGetStatusString(status)));
  }
}

// Owners of cuBLASLt's handles; moved by swapping, so a moved-from one frees nothing.
template <class Handle, cublasStatus_t (*kDestroy)(Handle)>
class Owned {
 public:
  Owned() = default;
  Owned(Owned&& other) noexcept { std::swap(handle_, other.handle_); }
  Owned& operator=(Owned&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~Owned() {
    if (handle_ != nullptr) kDestroy(handle_);
  }
  Handle get() const { return handle_; }
  Handle* address() { return &handle_; }

 private:
  Handle handle_ = nullptr;
};
using Descriptor = Owned<cublasLtMatmulDesc_t, cublasLtMatmulDescDestroy>;
using Layout = Owned<cublasLtMatrixLayout_t, cublasLtMatrixLayoutDestroy>;
using Preference = Owned<cublasLtMatmulPreference_t, cublasLtMatmulPreferenceDestroy>;

// cuBLASLt's view of a row-major [rows, columns] matrix: column-major [columns, rows].
Layout LayoutOf(cudaDataType_t type, int64_t rows, int64_t columns) {
  Layout layout;
  Check(cublasLtMatrixLayoutCreate(layout.address(), type, columns, rows, columns),
        "cublasLtMatrixLayoutCreate");
  return layout;
}

// The same matrix with another number of rows.
void SetRows(Layout& layout, int64_t rows) {
  const auto columns = static_cast<uint64_t>(rows);
  Check(
      cublasLtMatrixLayoutSetAttribute(layout.get(), CUBLASLT_MATRIX_LAYOUT_COLS, &columns, sizeof(columns)),
      "cublasLtMatrixLayoutSetAttribute");
}

// Alignment of every row of a matrix whose first row is aligned to kAlignmentMax.
uint32_t AlignmentOf(int64_t columns, size_t element_bytes) {
  const uint64_t row_bytes = static_cast<uint64_t>(columns) * element_bytes;
  return static_cast<uint32_t>(std::min<uint64_t>(row_bytes & -row_bytes, kAlignmentMax));
}

bool Aligned(const void* data, uint32_t alignment) {
  return reinterpret_cast<uintptr_t>(data) % alignment == 0;
}

struct MatrixShape {
  int64_t rows, columns;
};
MatrixShape ShapeOfA(const MatmulShape& s) {
  return s.transpose_a ? MatrixShape{s.k, s.m} : MatrixShape{s.m, s.k};
}
MatrixShape ShapeOfB(const MatmulShape& s) {
  return s.transpose_b ? MatrixShape{s.n, s.k} : MatrixShape{s.k, s.n};
}

// Multiplications of one product, up to which the host takes longer to launch it than the device to carry it
// out.
constexpr int64_t kTogetherMax = int64_t{1} << 30;

// Whether a product of a batch is one of many in a launch: by its shape alone, as its bits depend on it. Not
// those that sum over rows, as gradients of weights do: they have the more output the fewer rows they sum
// over.
bool TakenTogether(const MatmulShape& s) {
  return s.dtype == DType::kBFloat16 && s.out_dtype == DType::kBFloat16 && !s.transpose_a && !s.accumulate &&
         s.n % kernels::kGroupedMultiple == 0 && s.k % kernels::kGroupedMultiple == 0 &&
         s.m * s.n * s.k <= kTogetherMax;
}

// The number of rows that the product goes over: of a and c, or of a and b when it sums over them.
int64_t RowsOf(const MatmulShape& s) { return s.transpose_a ? s.k : s.m; }
MatmulShape WithRows(MatmulShape s, int64_t rows) {
  (s.transpose_a ? s.k : s.m) = rows;
  return s;
}

// Up to the next multiple of an eighth of the power of two below; small numbers to the next 16.
int64_t RoundUpRows(int64_t rows) {
  int64_t step = 16;
  while (step * 16 <= rows) step *= 2;
  return (rows + step - 1) / step * step;
}

// A product's handles and algorithm. In column-major terms c^T = op(b)^T op(a)^T: b comes first.
struct Plan {
  Descriptor descriptor;
  Layout a, b, c;
  uint32_t alignment_a, alignment_b, alignment_c;
  cublasLtMatmulAlgo_t algorithm;
  size_t workspace_bytes;
};

void SetTranspose(Descriptor& descriptor, cublasLtMatmulDescAttributes_t which, bool transpose) {
  const cublasOperation_t operation = transpose ? CUBLAS_OP_T : CUBLAS_OP_N;
  Check(cublasLtMatmulDescSetAttribute(descriptor.get(), which, &operation, sizeof(operation)),
        "cublasLtMatmulDescSetAttribute");
}

template <class Value>
void Prefer(Preference& preference, cublasLtMatmulPreferenceAttributes_t which, Value value) {
  Check(cublasLtMatmulPreferenceSetAttribute(preference.get(), which, &value, sizeof(value)),
        "cublasLtMatmulPreferenceSetAttribute");
}

cudaDataType_t CudaTypeOf(DType dtype) { return dtype == DType::kBFloat16 ? CUDA_R_16BF : CUDA_R_32F; }

Plan MakePlan(cublasLtHandle_t handle, const MatmulShape& shape) {
  const size_t bytes = DTypeBytes(shape.dtype);
  const cudaDataType_t type = CudaTypeOf(shape.dtype);
  const MatrixShape a = ShapeOfA(shape), b = ShapeOfB(shape);
  Plan plan;
  Check(cublasLtMatmulDescCreate(plan.descriptor.address(), CUBLAS_COMPUTE_32F, CUDA_R_32F),
        "cublasLtMatmulDescCreate");
  SetTranspose(plan.descriptor, CUBLASLT_MATMUL_DESC_TRANSA, shape.transpose_b);
  SetTranspose(plan.descriptor, CUBLASLT_MATMUL_DESC_TRANSB, shape.transpose_a);
  plan.a = LayoutOf(type, a.rows, a.columns);
  plan.b = LayoutOf(type, b.rows, b.columns);
  plan.c = LayoutOf(CudaTypeOf(shape.out_dtype), shape.m, shape.n);
  plan.alignment_a = AlignmentOf(a.columns, bytes);
  plan.alignment_b = AlignmentOf(b.columns, bytes);
  plan.alignment_c = AlignmentOf(shape.n, DTypeBytes(shape.out_dtype));

  Preference preference;
  Check(cublasLtMatmulPreferenceCreate(preference.address()), "cublasLtMatmulPreferenceCreate");
  Prefer(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, static_cast<uint64_t>(kWorkspaceBytes));
  // Partial sums stay in float32, in the workspace.
  Prefer(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
         static_cast<uint32_t>(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
  Prefer(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, plan.alignment_b);
  Prefer(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, plan.alignment_a);
  Prefer(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, plan.alignment_c);
  Prefer(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, plan.alignment_c);
  cublasLtMatmulHeuristicResult_t found;
  int count = 0;
  const cublasStatus_t status =
      cublasLtMatmulAlgoGetHeuristic(handle, plan.descriptor.get(), plan.b.get(), plan.a.get(), plan.c.get(),
                                     plan.c.get(), preference.get(), 1, &found, &count);
  if (status != CUBLAS_STATUS_SUCCESS || count == 0) {
    throw DeviceError(absl::StrCat("cuBLASLt has no algorithm for a ", DTypeBytes(shape.dtype),
                                   "-byte product of m ", shape.m, ", n ", shape.n, ", k ", shape.k, ": ",
                                   cublasLtGetStatusString(status)));
  }
  plan.algorithm = found.algo;
  plan.workspace_bytes = found.workspaceSize;
  return plan;
}

}  // namespace

struct MatmulRunner::State {
  // Where one product at a time runs.
  struct Lane {
    Buffer workspace;
    Buffer copies[3];                  // of a, b, c
    kernels::Stream stream = nullptr;  // of a side lane
    cudaEvent_t done = nullptr;
  };

  explicit State(CudaMemory& memory) : memory(memory) {
    Check(cublasLtCreate(&handle), "cublasLtCreate");
    main.workspace = Allocate(kWorkspaceBytes);
  }
  ~State() {
    for (Lane& lane : side) {
      if (lane.done != nullptr) cudaEventDestroy(lane.done);
      if (lane.stream != nullptr) cudaStreamDestroy(lane.stream);
    }
    if (forked != nullptr) cudaEventDestroy(forked);
    cublasLtDestroy(handle);
  }

  Buffer Allocate(size_t bytes) {
    auto made = memory.Allocate(bytes, "matrix product workspace");
    if (!made.ok()) throw DeviceError(std::string(made.status().message()));
    return *std::move(made);
  }

  void MakeSideLanes() {
    if (forked != nullptr) return;
    BALLAST_CUDA_CHECK(cudaEventCreateWithFlags(&forked, cudaEventDisableTiming));
    side.resize(kLanes);
    for (Lane& lane : side) {
      lane.workspace = Allocate(kWorkspaceBytes);
      BALLAST_CUDA_CHECK(cudaStreamCreateWithFlags(&lane.stream, cudaStreamNonBlocking));
      BALLAST_CUDA_CHECK(cudaEventCreateWithFlags(&lane.done, cudaEventDisableTiming));
    }
  }

  // `data` itself, or aligned memory of its size when it is not aligned.
  void* Place(Buffer& copy, const void* data, size_t bytes, uint32_t alignment, kernels::Stream stream) {
    if (Aligned(data, alignment)) return const_cast<void*>(data);
    if (copy.bytes() < bytes) {
      BALLAST_CUDA_CHECK(cudaStreamSynchronize(stream));
      copy = Buffer();
      copy = Allocate(bytes);
    }
    return copy.data();
  }

  Plan& PlanOf(const MatmulShape& shape) {
    auto found = plans.find(shape);
    if (found != plans.end()) return found->second;
    if (plans.size() == kPlansMax) plans.clear();
    return plans.emplace(shape, MakePlan(handle, shape)).first->second;
  }

  void Run(Lane& lane, const Product& product, kernels::Stream stream);
  void RunSideBySide(std::span<const Product> products, kernels::Stream stream);

  CudaMemory& memory;
  cublasLtHandle_t handle = nullptr;
  Lane main;
  std::vector<Lane> side;
  cudaEvent_t forked = nullptr;
  std::map<MatmulShape, Plan> plans;
};

void MatmulRunner::State::Run(Lane& lane, const Product& product, kernels::Stream stream) {
  const MatmulShape& shape = product.shape;
  BALLAST_CHECK(shape.m >= 0 && shape.n >= 0 && shape.k >= 0);
  const size_t bytes = DTypeBytes(shape.dtype);
  const size_t bytes_c = static_cast<size_t>(shape.m * shape.n) * DTypeBytes(shape.out_dtype);
  if (bytes_c == 0) return;
  if (shape.k == 0) {
    if (!shape.accumulate) BALLAST_CUDA_CHECK(cudaMemsetAsync(product.c, 0, bytes_c, stream));
    return;
  }
  auto copy = [&](void* to, const void* from, size_t size) {
    if (to == from) return;
    BALLAST_CUDA_CHECK(cudaMemcpyAsync(to, from, size, cudaMemcpyDeviceToDevice, stream));
  };
  const size_t bytes_a = static_cast<size_t>(shape.m * shape.k) * bytes;
  const size_t bytes_b = static_cast<size_t>(shape.k * shape.n) * bytes;
  auto multiply = [&](Plan& plan) {
    void* at_a = Place(lane.copies[0], product.a, bytes_a, plan.alignment_a, stream);
    void* at_b = Place(lane.copies[1], product.b, bytes_b, plan.alignment_b, stream);
    void* at_c = Place(lane.copies[2], product.c, bytes_c, plan.alignment_c, stream);
    copy(at_a, product.a, bytes_a);
    copy(at_b, product.b, bytes_b);
    if (shape.accumulate) copy(at_c, product.c, bytes_c);
    const float one = 1, keep = shape.accumulate ? 1 : 0;
    const cublasStatus_t status =
        cublasLtMatmul(handle, plan.descriptor.get(), &one, at_b, plan.b.get(), at_a, plan.a.get(), &keep,
                       at_c, plan.c.get(), at_c, plan.c.get(), &plan.algorithm, lane.workspace.data(),
                       plan.workspace_bytes, stream);
    if (status == CUBLAS_STATUS_SUCCESS) copy(product.c, at_c, bytes_c);
    return status;
  };
  const int64_t rows = RowsOf(shape);
  Plan& plan = PlanOf(WithRows(shape, RoundUpRows(rows)));
  SetRows(plan.a, rows);
  SetRows(shape.transpose_a ? plan.b : plan.c, rows);
  cublasStatus_t status = multiply(plan);
  // The choice for the rounded number of rows may not do for this one.
  if (status == CUBLAS_STATUS_NOT_SUPPORTED || status == CUBLAS_STATUS_INVALID_VALUE) {
    Plan exact = MakePlan(handle, shape);
    status = multiply(exact);
  }
  Check(status, "cublasLtMatmul");
}

MatmulRunner::MatmulRunner(CudaMemory& memory) : state_(std::make_unique<State>(memory)) {}
MatmulRunner::~MatmulRunner() = default;

void MatmulRunner::Run(const Product& product, kernels::Stream stream) {
  state_->Run(state_->main, product, stream);
}

void MatmulRunner::State::RunSideBySide(std::span<const Product> products, kernels::Stream stream) {
  if (products.size() < 2) {
    for (const Product& product : products) Run(main, product, stream);
    return;
  }
  MakeSideLanes();
  const size_t lanes = std::min(kLanes, products.size());
  BALLAST_CUDA_CHECK(cudaEventRecord(forked, stream));
  for (size_t i = 0; i < lanes; ++i) BALLAST_CUDA_CHECK(cudaStreamWaitEvent(side[i].stream, forked));
  for (size_t i = 0; i < products.size(); ++i) {
    Lane& lane = side[i % lanes];
    Run(lane, products[i], lane.stream);
  }
  for (size_t i = 0; i < lanes; ++i) {
    BALLAST_CUDA_CHECK(cudaEventRecord(side[i].done, side[i].stream));
    BALLAST_CUDA_CHECK(cudaStreamWaitEvent(stream, side[i].done));
  }
}

void MatmulRunner::RunBatch(std::span<const Product> products, kernels::Stream stream) {
  std::vector<Product> others;
  // What one launch has in common.
  using Key = std::tuple<kernels::GroupedKind, int64_t, int64_t>;
  std::map<Key, std::vector<kernels::GroupedTask>> launches;
  for (const Product& product : products) {
    const auto& [shape, a, b, c] = product;
    if (!TakenTogether(shape)) {
      others.push_back(product);
      continue;
    }
    const auto kind = shape.transpose_b ? kernels::GroupedKind::kNT : kernels::GroupedKind::kNN;
    launches[{kind, shape.n, shape.k}].push_back({static_cast<const kernels::BFloat16*>(a),
                                                  static_cast<const kernels::BFloat16*>(b),
                                                  static_cast<kernels::BFloat16*>(c), shape.m});
  }
  state_->RunSideBySide(others, stream);
  for (const auto& [key, tasks] : launches) {
    const auto& [kind, n, k] = key;
    kernels::GroupedGemm(kind, n, k, tasks, stream);
  }
}

}  // namespace ballast
