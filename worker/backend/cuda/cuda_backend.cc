#include "worker/backend/cuda/cuda_backend.h"

#include <algorithm>
#include <span>
#include <type_traits>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/math.h"
#include "base/status_macros.h"
#include "kernels/adamw.h"
#include "kernels/attention.h"
#include "kernels/bfloat16.h"
#include "kernels/check.h"
#include "kernels/combine.h"
#include "kernels/cross_entropy.h"
#include "kernels/elementwise.h"
#include "kernels/embedding.h"
#include "kernels/load_balance.h"
#include "kernels/mean_squares.h"
#include "kernels/rms_norm.h"
#include "kernels/rope.h"
#include "kernels/router.h"
#include "kernels/rows.h"
#include "kernels/sort_assignments.h"
#include "kernels/sum_of_squares.h"
#include "kernels/swiglu.h"
#include "worker/backend/cuda/adamw_factors.h"
#include "worker/backend/cuda/cuda_marks.h"
#include "worker/backend/cuda/cuda_memory.h"
#include "worker/backend/cuda/cuda_stream.h"
#include "worker/backend/cuda/device.h"

namespace ballast {
namespace {

using kernels::BFloat16;

// Checks sizes, finds the stream and hands over to the kernel. T is float or BFloat16.
template <class T>
class CudaBackend final : public Backend {
 public:
  CudaBackend(int device, size_t bytes_max) : device_(device), memory_(device, bytes_max) {}

  std::string name() const override { return "cuda"; }
  DType dtype() const override { return kDType; }
  size_t master_bytes() const override { return sizeof(float); }

  absl::StatusOr<Buffer> Allocate(size_t bytes, const std::string& label) override {
    return memory_.Allocate(bytes, label);
  }
  size_t allocated_bytes() const override { return memory_.bytes(); }
  std::map<std::string, size_t> allocated_bytes_by_label() const override { return memory_.bytes_by_label(); }
  std::unique_ptr<Stream> NewStream() override { return std::make_unique<CudaStream>(device_, memory_); }
  absl::Status Synchronize(Stream& stream) override {
    On(stream).Synchronize();
    return absl::OkStatus();
  }
  void RunBehind(Stream& stream, Stream& before) override { On(stream).RunBehind(On(before)); }
  std::unique_ptr<StreamMarks> NewMarks() override { return std::make_unique<CudaMarks>(device_); }

  void Zero(Stream& stream, void* data, size_t bytes) override {
    if (bytes > 0) BALLAST_CUDA_CHECK(cudaMemsetAsync(data, 0, bytes, On(stream).get()));
  }
  void Copy(Stream& stream, void* to, const void* from, size_t bytes) override {
    if (bytes > 0) On(stream).Copy(to, from, bytes);
  }

  void Add(Stream& stream, Matrix x, Matrix y) override {
    CheckSame(x, y);
    kernels::Add(x.elements(), In(x), Out(y), On(stream).get());
  }
  void Scale(Stream& stream, double factor, Matrix x) override {
    kernels::Scale(x.elements(), static_cast<float>(factor), Out(x), On(stream).get());
  }
  void SumOfSquares(Stream& stream, const void* data, int64_t elements, double* out) override {
    SquaresOf(stream, In(data), elements, out);
  }

  void MatmulNT(Stream& stream, Matrix a, Matrix b, Matrix c, bool accumulate) override {
    Multiply(stream, {MatmulKind::kNT, a, b, c, accumulate});
  }
  void MatmulNN(Stream& stream, Matrix a, Matrix b, Matrix c, bool accumulate) override {
    Multiply(stream, {MatmulKind::kNN, a, b, c, accumulate});
  }
  void MatmulTN(Stream& stream, Matrix a, Matrix b, Matrix c, bool accumulate) override {
    Multiply(stream, {MatmulKind::kTN, a, b, c, accumulate});
  }
  void MatmulBatch(Stream& stream, std::span<const MatmulTask> tasks) override {
    std::vector<MatmulRunner::Product> products;
    products.reserve(tasks.size());
    for (const MatmulTask& task : tasks)
      products.push_back({ShapeOf(task), task.a.data, task.b.data, task.c.data});
    CudaStream& on = On(stream);
    on.matmul().RunBatch(products, on.get());
  }

  void EmbeddingForward(Stream& stream, const int32_t* ids, Matrix table, Matrix out) override {
    BALLAST_CHECK(table.columns == out.columns);
    kernels::EmbeddingForward(out.rows, RowBytes(out), ids, table.data, out.data, On(stream).get());
  }
  void EmbeddingBackward(Stream& stream, const int32_t* ids, Matrix out_gradient,
                         Matrix table_gradient) override {
    BALLAST_CHECK(out_gradient.columns == table_gradient.columns);
    CudaStream& on = On(stream);
    void* scratch =
        on.Scratch(kernels::EmbeddingBackwardScratchBytes(out_gradient.rows, table_gradient.rows));
    kernels::EmbeddingBackward(out_gradient.rows, out_gradient.columns, table_gradient.rows, ids,
                               In(out_gradient), Out(table_gradient), scratch, on.get());
  }
  void RmsNormForward(Stream& stream, Matrix x, const void* weight, double epsilon, Matrix out,
                      double* inverse_rms) override {
    CheckSame(x, out);
    kernels::RmsNormForward(x.rows, x.columns, In(x), In(weight), epsilon, Out(out), inverse_rms,
                            On(stream).get());
  }
  void RmsNormBackward(Stream& stream, Matrix x, const void* weight, const double* inverse_rms,
                       Matrix out_gradient, Matrix x_gradient, void* weight_gradient) override {
    CheckSame(x, out_gradient);
    CheckSame(x, x_gradient);
    CudaStream& on = On(stream);
    void* scratch = on.Scratch(kernels::RmsNormBackwardScratchBytes(x.rows, x.columns));
    kernels::RmsNormBackward(x.rows, x.columns, In(x), In(weight), inverse_rms, In(out_gradient),
                             Out(x_gradient), Out(weight_gradient), scratch, on.get());
  }
  void Rope(Stream& stream, Matrix x, const AttentionShape& shape, int heads, double theta,
            bool backward) override {
    CheckHeads(x, shape, heads);
    BALLAST_CHECK(shape.head_size % 2 == 0) << "head size " << shape.head_size;
    kernels::Rope({shape.sequences, shape.length, heads, shape.head_size}, theta, backward, Out(x),
                  On(stream).get());
  }

  // The log-sum-exp of every query and head, in float.
  size_t AttentionSavedBytes(const AttentionShape& shape) const override {
    return static_cast<size_t>(SizesOf(shape).queries()) * sizeof(float);
  }
  void AttentionForward(Stream& stream, Matrix q, Matrix k, Matrix v, const AttentionShape& shape, Matrix out,
                        void* saved) override {
    CheckAttention(q, k, v, out, shape);
    kernels::AttentionForward(SizesOf(shape), In(q), In(k), In(v), Out(out), static_cast<float*>(saved),
                              On(stream).get());
  }
  void AttentionBackward(Stream& stream, Matrix q, Matrix k, Matrix v, Matrix out,
                         const AttentionShape& shape, const void* saved, Matrix out_gradient,
                         Matrix q_gradient, Matrix k_gradient, Matrix v_gradient) override {
    CheckAttention(q, k, v, out, shape);
    CheckAttention(q_gradient, k_gradient, v_gradient, out_gradient, shape);
    CudaStream& on = On(stream);
    const kernels::AttentionSizes sizes = SizesOf(shape);
    void* scratch = on.Scratch(kernels::AttentionBackwardScratchBytes(sizes));
    kernels::AttentionBackward<T>(
        sizes, {In(q), In(k), In(v), In(out), static_cast<const float*>(saved), In(out_gradient)},
        Out(q_gradient), Out(k_gradient), Out(v_gradient), scratch, on.get());
  }
  void CrossEntropy(Stream& stream, Matrix logits, const int32_t* targets, double scale, double* row_loss,
                    Matrix logits_gradient) override {
    CheckSame(logits, logits_gradient);
    kernels::CrossEntropy(logits.rows, logits.columns, In(logits), targets, scale, row_loss,
                          Out(logits_gradient), On(stream).get());
  }

  void RouterLogits(Stream& stream, Matrix x, Matrix weight, Matrix logits) override {
    MatmulShape shape = ShapeOf({MatmulKind::kNT, x, weight, logits});
    shape.out_dtype = DType::kFloat32;
    CudaStream& on = On(stream);
    on.matmul().Run({shape, x.data, weight.data, logits.data}, on.get());
  }
  void CastRouter(Stream& stream, const void* in, int64_t elements, void* out) override {
    CastMaster(stream, in, elements, out);  // both from float
  }
  void RouterForward(Stream& stream, Matrix logits, int top_k, Matrix probabilities, int32_t* experts,
                     Matrix weights, double* log_sum_exp) override {
    CheckSame(logits, probabilities);
    kernels::RouterForward(RouterShapeOf(logits, weights, top_k), Floats(logits), Floats(probabilities),
                           experts, Floats(weights), log_sum_exp, On(stream).get());
  }
  void RouterBackward(Stream& stream, Matrix probabilities, const int32_t* experts, Matrix weights,
                      Matrix weights_gradient, Matrix probabilities_gradient, const double* log_sum_exp,
                      double z_scale, Matrix logits_gradient) override {
    CheckSame(probabilities, probabilities_gradient);
    CheckSame(probabilities, logits_gradient);
    CheckSame(weights, weights_gradient);
    const int top_k = static_cast<int>(weights.columns);
    kernels::RouterBackward(
        RouterShapeOf(probabilities, weights, top_k), Floats(probabilities), experts, Floats(weights),
        log_sum_exp, z_scale,
        {Floats(weights_gradient), Floats(probabilities_gradient), Floats(logits_gradient)},
        On(stream).get());
  }
  void LoadBalance(Stream& stream, Matrix probabilities, const int32_t* experts, int top_k, int64_t sequences,
                   double scale, double* loss, Matrix probabilities_gradient) override {
    CheckSame(probabilities, probabilities_gradient);
    BALLAST_CHECK(probabilities.columns <= kernels::kRouterExpertsMax);
    const int64_t length = sequences > 0 ? DivExact(probabilities.rows, sequences) : 0;
    const kernels::LoadBalanceShape shape{sequences, length, static_cast<int>(probabilities.columns), top_k};
    CudaStream& on = On(stream);
    void* scratch = on.Scratch(kernels::LoadBalanceScratchBytes(shape));
    kernels::LoadBalance(shape, Floats(probabilities), experts, scale, loss, Floats(probabilities_gradient),
                         scratch, on.get());
  }
  void MeanSquares(Stream& stream, const double* values, int64_t runs, int64_t length, double* out) override {
    kernels::MeanSquares(values, runs, length, out, On(stream).get());
  }
  void SortAssignments(Stream& stream, const int32_t* experts, int64_t tokens, int top_k, int expert_count,
                       int64_t* counts, int64_t* token_of, int64_t* row_of) override {
    BALLAST_CHECK(expert_count <= kernels::kRouterExpertsMax) << expert_count << " experts";
    CudaStream& on = On(stream);
    const int64_t assignments = tokens * top_k;
    kernels::SortAssignments(assignments, top_k, expert_count, experts, counts, token_of, row_of,
                             on.Scratch(kernels::SortAssignmentsScratchBytes(assignments, expert_count)),
                             on.get());
  }
  void MoveRows(Stream& stream, Matrix in, std::span<const RowMove> moves, Matrix out) override {
    BALLAST_CHECK(in.columns == out.columns);
    std::vector<kernels::Move> copies;
    int64_t rows_max = 0;
    for (const RowMove& move : moves) {
      CheckMove(move, in, out);
      if (move.rows > 0) copies.push_back({move.from, move.to, move.rows});
      rows_max = std::max(rows_max, move.rows);
    }
    if (copies.empty()) return;
    CudaStream& on = On(stream);
    kernels::MoveRows(static_cast<int64_t>(copies.size()), on.Upload(copies.data(), copies.size()), rows_max,
                      RowBytes(in), in.data, out.data, on.get());
  }
  void GatherRows(Stream& stream, Matrix in, const int64_t* index, Matrix out) override {
    BALLAST_CHECK(in.columns == out.columns);
    kernels::GatherRows(out.rows, RowBytes(out), in.data, index, out.data, On(stream).get());
  }
  void CombineForward(Stream& stream, Matrix rows, const int64_t* row_of, Matrix weights,
                      Matrix out) override {
    kernels::CombineForward(CombineShapeOf(rows, weights, out), In(rows), row_of, Floats(weights), Out(out),
                            On(stream).get());
  }
  void CombineBackward(Stream& stream, Matrix rows, const int64_t* row_of, Matrix weights,
                       Matrix out_gradient, Matrix rows_gradient, Matrix weights_gradient) override {
    CheckSame(rows, rows_gradient);
    CheckSame(weights, weights_gradient);
    kernels::CombineBackward(CombineShapeOf(rows, weights, out_gradient), In(rows), row_of, Floats(weights),
                             In(out_gradient), Out(rows_gradient), Floats(weights_gradient),
                             On(stream).get());
  }
  void SumRows(Stream& stream, Matrix rows, const int64_t* row_of, int top_k, Matrix out) override {
    BALLAST_CHECK(rows.columns == out.columns && rows.rows == out.rows * top_k);
    kernels::SumRows(out.rows, out.columns, top_k, In(rows), row_of, Out(out), On(stream).get());
  }
  void SwigluForward(Stream& stream, Matrix gate_up, Matrix hidden) override {
    CheckGateUp(gate_up, hidden);
    kernels::SwigluForward(hidden.rows, hidden.columns, In(gate_up), Out(hidden), On(stream).get());
  }
  void SwigluBackward(Stream& stream, Matrix gate_up, Matrix hidden_gradient,
                      Matrix gate_up_gradient) override {
    CheckGateUp(gate_up, hidden_gradient);
    CheckSame(gate_up, gate_up_gradient);
    kernels::SwigluBackward(hidden_gradient.rows, hidden_gradient.columns, In(gate_up), In(hidden_gradient),
                            Out(gate_up_gradient), On(stream).get());
  }

  void AdamW(Stream& stream, const AdamWStep& step, int64_t elements, const void* gradient, void* master,
             void* moment1, void* moment2, void* compute_weights) override {
    BALLAST_CHECK(step.step >= 1) << "step " << step.step;
    kernels::AdamW(AdamWFactorsOf(step), elements, static_cast<const float*>(gradient),
                   static_cast<float*>(master), static_cast<float*>(moment1), static_cast<float*>(moment2),
                   static_cast<T*>(compute_weights), On(stream).get());
  }
  void CastMaster(Stream& stream, const void* master, int64_t elements, void* out) override {
    if constexpr (std::is_same_v<T, float>) {
      Copy(stream, out, master, static_cast<size_t>(elements) * sizeof(float));
    } else {
      kernels::ToBFloat16(elements, static_cast<const float*>(master), static_cast<T*>(out),
                          On(stream).get());
    }
  }
  void SumIntoMaster(Stream& stream, const void* in, int64_t elements, bool add, void* master) override {
    auto* const sum = static_cast<float*>(master);
    if (add) {
      kernels::Add(elements, In(in), sum, On(stream).get());
    } else if constexpr (std::is_same_v<T, float>) {
      Copy(stream, sum, in, static_cast<size_t>(elements) * sizeof(float));
    } else {
      kernels::FromBFloat16(elements, In(in), sum, On(stream).get());
    }
  }
  void AddMaster(Stream& stream, const void* master, int64_t elements, void* out) override {
    kernels::Add(elements, static_cast<const float*>(master), Out(out), On(stream).get());
  }
  void SumOfMasterSquares(Stream& stream, const void* master, int64_t elements, double* out) override {
    SquaresOf(stream, static_cast<const float*>(master), elements, out);
  }
  void ToBFloat16(Stream& stream, const void* in, int64_t elements, void* out) override {
    if constexpr (std::is_same_v<T, float>) {
      kernels::ToBFloat16(elements, In(in), static_cast<BFloat16*>(out), On(stream).get());
    } else {
      Copy(stream, out, in, static_cast<size_t>(elements) * element_bytes());
    }
  }
  void FromBFloat16(Stream& stream, const void* in, int64_t elements, void* out) override {
    if constexpr (std::is_same_v<T, float>) {
      kernels::FromBFloat16(elements, static_cast<const BFloat16*>(in), static_cast<float*>(out),
                            On(stream).get());
    } else {
      Copy(stream, out, in, static_cast<size_t>(elements) * element_bytes());
    }
  }

 private:
  static constexpr DType kDType = std::is_same_v<T, float> ? DType::kFloat32 : DType::kBFloat16;

  template <class Value>
  void SquaresOf(Stream& stream, const Value* data, int64_t elements, double* out) {
    CudaStream& on = On(stream);
    kernels::SumOfSquares(elements, data, on.Scratch(kernels::SumOfSquaresScratchBytes()), on.Result(out),
                          on.get());
  }

  // The stream, with the calling thread on its device.
  CudaStream& On(Stream& stream) const {
    UseCudaDevice(device_);
    return static_cast<CudaStream&>(stream);
  }
  static MatmulShape ShapeOf(const MatmulTask& task) {
    const auto& [kind, a, b, c, accumulate] = task;
    MatmulShape shape{
        .dtype = kDType, .out_dtype = kDType, .accumulate = accumulate, .m = c.rows, .n = c.columns};
    shape.transpose_a = kind == MatmulKind::kTN;
    shape.transpose_b = kind == MatmulKind::kNT;
    shape.k = shape.transpose_a ? a.rows : a.columns;
    BALLAST_CHECK((shape.transpose_a ? a.columns : a.rows) == shape.m &&
                  (shape.transpose_b ? b.rows : b.columns) == shape.n &&
                  (shape.transpose_b ? b.columns : b.rows) == shape.k)
        << a.rows << "x" << a.columns << " and " << b.rows << "x" << b.columns << " into " << c.rows << "x"
        << c.columns;
    return shape;
  }
  void Multiply(Stream& stream, const MatmulTask& task) {
    CudaStream& on = On(stream);
    on.matmul().Run({ShapeOf(task), task.a.data, task.b.data, task.c.data}, on.get());
  }

  static const T* In(const void* data) { return static_cast<const T*>(data); }
  static const T* In(const Matrix& x) { return static_cast<const T*>(x.data); }
  static T* Out(void* data) { return static_cast<T*>(data); }
  static T* Out(const Matrix& x) { return static_cast<T*>(x.data); }
  // Of the router type, which is float beside both compute types.
  static float* Floats(const Matrix& x) { return static_cast<float*>(x.data); }
  static int64_t RowBytes(const Matrix& x) { return x.columns * static_cast<int64_t>(DTypeBytes(kDType)); }

  static void CheckSame(const Matrix& x, const Matrix& y) {
    BALLAST_CHECK(x.rows == y.rows && x.columns == y.columns)
        << x.rows << "x" << x.columns << " against " << y.rows << "x" << y.columns;
  }
  static void CheckHeads(const Matrix& x, const AttentionShape& shape, int heads) {
    BALLAST_CHECK(x.rows == shape.sequences * shape.length && x.columns == int64_t{heads} * shape.head_size)
        << x.rows << "x" << x.columns << " for " << shape.sequences << " sequences of " << shape.length
        << ", " << heads << " heads of " << shape.head_size;
  }
  static void CheckAttention(const Matrix& q, const Matrix& k, const Matrix& v, const Matrix& out,
                             const AttentionShape& shape) {
    BALLAST_CHECK(shape.key_value_heads > 0 && shape.heads % shape.key_value_heads == 0);
    BALLAST_CHECK(0 < shape.head_size && shape.head_size <= kernels::kAttentionHeadSizeMax)
        << "head size " << shape.head_size << "; the CUDA backend has 1 to "
        << kernels::kAttentionHeadSizeMax;
    CheckHeads(q, shape, shape.heads);
    CheckHeads(out, shape, shape.heads);
    CheckHeads(k, shape, shape.key_value_heads);
    CheckHeads(v, shape, shape.key_value_heads);
  }
  static kernels::AttentionSizes SizesOf(const AttentionShape& shape) {
    return {shape.sequences, shape.length, shape.heads, shape.key_value_heads, shape.head_size};
  }
  static kernels::RouterShape RouterShapeOf(const Matrix& logits, const Matrix& weights, int top_k) {
    BALLAST_CHECK(weights.rows == logits.rows && weights.columns == top_k && 1 <= top_k &&
                  top_k <= logits.columns);
    BALLAST_CHECK(logits.columns <= kernels::kRouterExpertsMax)
        << logits.columns << " experts; the CUDA backend has up to " << kernels::kRouterExpertsMax;
    return {logits.rows, static_cast<int>(logits.columns), top_k};
  }
  static kernels::CombineShape CombineShapeOf(const Matrix& rows, const Matrix& weights, const Matrix& out) {
    BALLAST_CHECK(rows.columns == out.columns && weights.rows == out.rows && rows.rows == weights.elements());
    return {out.rows, out.columns, static_cast<int>(weights.columns)};
  }

  const int device_;
  CudaMemory memory_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Backend>> MakeCudaBackend(int device, DType dtype, size_t bytes_max) {
  BALLAST_RETURN_IF_ERROR(CheckCudaDevice(device));
  if (dtype == DType::kFloat32) return std::make_unique<CudaBackend<float>>(device, bytes_max);
  if (dtype == DType::kBFloat16) return std::make_unique<CudaBackend<BFloat16>>(device, bytes_max);
  return absl::InvalidArgumentError(absl::StrCat("the CUDA backend has no type ", static_cast<int>(dtype),
                                                 "; it has float32 and bfloat16"));
}

}  // namespace ballast
