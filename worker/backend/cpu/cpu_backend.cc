#include "worker/backend/cpu/cpu_backend.h"

#include <algorithm>
#include <cstring>
#include <span>
#include <type_traits>
#include <vector>

#include "base/check.h"
#include "base/status_macros.h"
#include "worker/backend/cpu/bfloat16_backend.h"
#include "worker/backend/cpu/blas.h"
#include "worker/backend/cpu/cpu_memory.h"
#include "worker/backend/cpu/kernels.h"

namespace ballast {
namespace {

// Nothing waits on a CPU stream: operations have run when they return. It owns the scratch of its operations.
class CpuStream final : public Stream {
 public:
  template <class T>
  T* Scratch(int64_t elements) {
    size_t bytes = static_cast<size_t>(elements) * sizeof(T);
    if (scratch_.size() * sizeof(double) < bytes) scratch_.resize(bytes / sizeof(double) + 1);
    return reinterpret_cast<T*>(scratch_.data());
  }

 private:
  std::vector<double> scratch_;
};

// Checks shapes and types, and calls the kernels (kernels.h).
template <class T>
class CpuBackend final : public Backend {
 public:
  explicit CpuBackend(size_t bytes_max) : memory_(bytes_max) {}

  std::string name() const override { return "cpu"; }
  DType dtype() const override { return std::is_same_v<T, float> ? DType::kFloat32 : DType::kFloat64; }
  size_t master_bytes() const override { return sizeof(T); }

  absl::StatusOr<Buffer> Allocate(size_t bytes, const std::string& label) override {
    return memory_.Allocate(bytes, label);
  }
  size_t allocated_bytes() const override { return memory_.bytes(); }
  std::map<std::string, size_t> allocated_bytes_by_label() const override { return memory_.bytes_by_label(); }
  std::unique_ptr<Stream> NewStream() override { return std::make_unique<CpuStream>(); }
  absl::Status Synchronize(Stream&) override { return absl::OkStatus(); }
  void RunBehind(Stream&, Stream&) override {}
  std::unique_ptr<StreamMarks> NewMarks() override { return nullptr; }

  void Zero(Stream&, void* data, size_t bytes) override {
    if (bytes > 0) std::memset(data, 0, bytes);
  }
  void Copy(Stream&, void* to, const void* from, size_t bytes) override {
    if (bytes > 0) std::memcpy(to, from, bytes);
  }

  void Add(Stream&, Matrix x, Matrix y) override {
    CheckSame(x, y);
    cpu::Add<T>(x.elements(), In(x.data), Out(y.data));
  }
  void Scale(Stream&, double factor, Matrix x) override { cpu::Scale<T>(x.elements(), factor, Out(x.data)); }
  void SumOfSquares(Stream&, const void* data, int64_t elements, double* out) override {
    *out = cpu::SumOfSquares<T>(elements, In(data));
  }

  void MatmulNT(Stream&, Matrix a, Matrix b, Matrix c, bool accumulate) override {
    BALLAST_CHECK(a.columns == b.columns && c.rows == a.rows && c.columns == b.rows);
    Gemm<T>(c.rows, c.columns, a.columns, T(1), {In(a.data), a.columns, false}, {In(b.data), b.columns, true},
            accumulate, {Out(c.data), c.columns});
  }
  void MatmulNN(Stream&, Matrix a, Matrix b, Matrix c, bool accumulate) override {
    BALLAST_CHECK(a.columns == b.rows && c.rows == a.rows && c.columns == b.columns);
    Gemm<T>(c.rows, c.columns, a.columns, T(1), {In(a.data), a.columns, false},
            {In(b.data), b.columns, false}, accumulate, {Out(c.data), c.columns});
  }
  void MatmulTN(Stream&, Matrix a, Matrix b, Matrix c, bool accumulate) override {
    BALLAST_CHECK(a.rows == b.rows && c.rows == a.columns && c.columns == b.columns);
    Gemm<T>(c.rows, c.columns, a.rows, T(1), {In(a.data), a.columns, true}, {In(b.data), b.columns, false},
            accumulate, {Out(c.data), c.columns});
  }

  void EmbeddingForward(Stream&, const int32_t* ids, Matrix table, Matrix out) override {
    BALLAST_CHECK(table.columns == out.columns);
    cpu::EmbeddingForward<T>(ids, In(table), Out(out));
  }
  void EmbeddingBackward(Stream&, const int32_t* ids, Matrix out_gradient, Matrix table_gradient) override {
    BALLAST_CHECK(out_gradient.columns == table_gradient.columns);
    cpu::EmbeddingBackward<T>(ids, In(out_gradient), Out(table_gradient));
  }
  void RmsNormForward(Stream&, Matrix x, const void* weight, double epsilon, Matrix out,
                      double* inverse_rms) override {
    CheckSame(x, out);
    cpu::RmsNormForward<T>(In(x), In(weight), epsilon, Out(out), inverse_rms);
  }
  void RmsNormBackward(Stream&, Matrix x, const void* weight, const double* inverse_rms, Matrix out_gradient,
                       Matrix x_gradient, void* weight_gradient) override {
    CheckSame(x, out_gradient);
    CheckSame(x, x_gradient);
    cpu::RmsNormBackward<T>(In(x), In(weight), inverse_rms, In(out_gradient), Out(x_gradient),
                            Out(weight_gradient));
  }
  void Rope(Stream& stream, Matrix x, const AttentionShape& shape, int heads, double theta,
            bool backward) override {
    CheckHeads(x, shape, heads);
    BALLAST_CHECK(shape.head_size % 2 == 0) << "head size " << shape.head_size;
    cpu::Rope<T>(Out(x), shape, heads, theta, backward, Scratch(stream, shape.head_size));
  }
  // The probabilities, [sequences * heads, length * length].
  size_t AttentionSavedBytes(const AttentionShape& shape) const override {
    return CpuAttentionSavedBytes(shape, dtype());
  }
  void AttentionForward(Stream&, Matrix q, Matrix k, Matrix v, const AttentionShape& shape, Matrix out,
                        void* saved) override {
    CheckAttention(q, k, v, out, shape);
    cpu::AttentionForward<T>(In(q), In(k), In(v), shape, Out(out), Out(saved));
  }
  void AttentionBackward(Stream& stream, Matrix q, Matrix k, Matrix v, Matrix out,
                         const AttentionShape& shape, const void* saved, Matrix out_gradient,
                         Matrix q_gradient, Matrix k_gradient, Matrix v_gradient) override {
    CheckAttention(q, k, v, out, shape);
    CheckSame(out, out_gradient);
    CheckAttention(q_gradient, k_gradient, v_gradient, out_gradient, shape);
    cpu::AttentionBackward<T>(In(q), In(k), In(v), {}, shape, In(saved), In(out_gradient), Out(q_gradient),
                              Out(k_gradient), Out(v_gradient), Scratch(stream, shape.length * shape.length));
  }
  void CrossEntropy(Stream&, Matrix logits, const int32_t* targets, double scale, double* row_loss,
                    Matrix logits_gradient) override {
    CheckSame(logits, logits_gradient);
    cpu::CrossEntropy<T>(In(logits), targets, scale, row_loss, Out(logits_gradient));
  }

  void RouterLogits(Stream& stream, Matrix x, Matrix weight, Matrix logits) override {
    MatmulNT(stream, x, weight, logits, /*accumulate=*/false);
  }
  void CastRouter(Stream& stream, const void* in, int64_t elements, void* out) override {
    Copy(stream, out, in, static_cast<size_t>(elements) * sizeof(T));  // one type for both
  }
  void RouterForward(Stream&, Matrix logits, int top_k, Matrix probabilities, int32_t* experts,
                     Matrix weights, double* log_sum_exp) override {
    CheckSame(logits, probabilities);
    BALLAST_CHECK(weights.rows == logits.rows && weights.columns == top_k && 1 <= top_k &&
                  top_k <= logits.columns);
    cpu::RouterForward<T>(In(logits), top_k, Out(probabilities), experts, Out(weights), log_sum_exp);
  }
  void RouterBackward(Stream&, Matrix probabilities, const int32_t* experts, Matrix weights,
                      Matrix weights_gradient, Matrix probabilities_gradient, const double* log_sum_exp,
                      double z_scale, Matrix logits_gradient) override {
    CheckSame(probabilities, probabilities_gradient);
    CheckSame(probabilities, logits_gradient);
    CheckSame(weights, weights_gradient);
    BALLAST_CHECK(weights.rows == probabilities.rows);
    cpu::RouterBackward<T>(In(probabilities), experts, In(weights), In(weights_gradient),
                           In(probabilities_gradient), log_sum_exp, z_scale, Out(logits_gradient));
  }
  void LoadBalance(Stream& stream, Matrix probabilities, const int32_t* experts, int top_k, int64_t sequences,
                   double scale, double* loss, Matrix probabilities_gradient) override {
    CheckSame(probabilities, probabilities_gradient);
    BALLAST_CHECK(sequences == 0 ? probabilities.rows == 0 : probabilities.rows % sequences == 0)
        << probabilities.rows << " rows in " << sequences << " sequences";
    cpu::LoadBalance<T>(In(probabilities), experts, top_k, sequences, scale, loss,
                        Out(probabilities_gradient),
                        static_cast<CpuStream&>(stream).Scratch<double>(probabilities.columns));
  }
  void MeanSquares(Stream&, const double* values, int64_t runs, int64_t length, double* out) override {
    cpu::MeanSquares(values, runs, length, out);
  }
  void SortAssignments(Stream& stream, const int32_t* experts, int64_t tokens, int top_k, int expert_count,
                       int64_t* counts, int64_t* token_of, int64_t* row_of) override {
    cpu::SortAssignments({experts, static_cast<size_t>(tokens * top_k)}, top_k, expert_count, counts,
                         token_of, row_of, static_cast<CpuStream&>(stream).Scratch<int64_t>(expert_count));
  }
  void MoveRows(Stream&, Matrix in, std::span<const RowMove> moves, Matrix out) override {
    cpu::MoveRows(in, moves, out, element_bytes());
  }
  void GatherRows(Stream&, Matrix in, const int64_t* index, Matrix out) override {
    BALLAST_CHECK(in.columns == out.columns);
    cpu::GatherRows<T>(In(in), index, Out(out));
  }
  void CombineForward(Stream&, Matrix rows, const int64_t* row_of, Matrix weights, Matrix out) override {
    BALLAST_CHECK(rows.columns == out.columns && weights.rows == out.rows && rows.rows == weights.elements());
    cpu::CombineForward<T>(In(rows), row_of, In(weights), Out(out));
  }
  void CombineBackward(Stream&, Matrix rows, const int64_t* row_of, Matrix weights, Matrix out_gradient,
                       Matrix rows_gradient, Matrix weights_gradient) override {
    CheckSame(rows, rows_gradient);
    CheckSame(weights, weights_gradient);
    BALLAST_CHECK(rows.columns == out_gradient.columns && weights.rows == out_gradient.rows &&
                  rows.rows == weights.elements());
    cpu::CombineBackward<T>(In(rows), row_of, In(weights), In(out_gradient), Out(rows_gradient),
                            Out(weights_gradient));
  }
  void SumRows(Stream&, Matrix rows, const int64_t* row_of, int top_k, Matrix out) override {
    BALLAST_CHECK(rows.columns == out.columns && rows.rows == out.rows * top_k);
    cpu::SumRows<T>(In(rows), row_of, top_k, Out(out));
  }
  void SwigluForward(Stream&, Matrix gate_up, Matrix hidden) override {
    CheckGateUp(gate_up, hidden);
    cpu::SwigluForward<T>(In(gate_up), Out(hidden));
  }
  void SwigluBackward(Stream&, Matrix gate_up, Matrix hidden_gradient, Matrix gate_up_gradient) override {
    CheckGateUp(gate_up, hidden_gradient);
    CheckSame(gate_up, gate_up_gradient);
    cpu::SwigluBackward<T>(In(gate_up), In(hidden_gradient), Out(gate_up_gradient));
  }

  void AdamW(Stream&, const AdamWStep& step, int64_t elements, const void* gradient, void* master,
             void* moment1, void* moment2, void* compute_weights) override {
    BALLAST_CHECK(step.step >= 1) << "step " << step.step;
    cpu::AdamW<T>(step, elements, In(gradient), Out(master), Out(moment1), Out(moment2),
                  Out(compute_weights));
  }
  // The compute type is the master type.
  void CastMaster(Stream& stream, const void* master, int64_t elements, void* out) override {
    Copy(stream, out, master, static_cast<size_t>(elements) * sizeof(T));
  }
  void SumIntoMaster(Stream& stream, const void* in, int64_t elements, bool add, void* master) override {
    if (!add) return Copy(stream, master, in, static_cast<size_t>(elements) * sizeof(T));
    cpu::Add<T>(elements, In(in), Out(master));
  }
  void AddMaster(Stream&, const void* master, int64_t elements, void* out) override {
    cpu::Add<T>(elements, In(master), Out(out));
  }
  void SumOfMasterSquares(Stream& stream, const void* master, int64_t elements, double* out) override {
    SumOfSquares(stream, master, elements, out);
  }
  void ToBFloat16(Stream&, const void* in, int64_t elements, void* out) override {
    cpu::ToBFloat16<T>(In(in), elements, static_cast<uint16_t*>(out));
  }
  void FromBFloat16(Stream&, const void* in, int64_t elements, void* out) override {
    cpu::FromBFloat16<T>(static_cast<const uint16_t*>(in), elements, Out(out));
  }

 private:
  static const T* In(const void* data) { return static_cast<const T*>(data); }
  static T* Out(void* data) { return static_cast<T*>(data); }
  static cpu::Rows<const T> In(const Matrix& x) { return {In(x.data), x.rows, x.columns}; }
  static cpu::Rows<T> Out(const Matrix& x) { return {Out(x.data), x.rows, x.columns}; }
  static T* Scratch(Stream& stream, int64_t elements) {
    return static_cast<CpuStream&>(stream).Scratch<T>(elements);
  }

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
    CheckHeads(q, shape, shape.heads);
    CheckHeads(out, shape, shape.heads);
    CheckHeads(k, shape, shape.key_value_heads);
    CheckHeads(v, shape, shape.key_value_heads);
  }

  CpuMemory memory_;
};

}  // namespace

size_t CpuAttentionSavedBytes(const AttentionShape& shape, DType dtype) {
  const size_t bytes = std::max(DTypeBytes(dtype), sizeof(float));
  return static_cast<size_t>(shape.sequences * shape.heads * shape.length * shape.length) * bytes;
}

absl::StatusOr<std::unique_ptr<Backend>> MakeCpuBackend(DType dtype, size_t bytes_max) {
  BALLAST_RETURN_IF_ERROR(LoadBlas());
  if (dtype == DType::kFloat32) return std::make_unique<CpuBackend<float>>(bytes_max);
  if (dtype == DType::kFloat64) return std::make_unique<CpuBackend<double>>(bytes_max);
  BALLAST_CHECK(dtype == DType::kBFloat16) << "dtype " << static_cast<int>(dtype);
  return MakeBFloat16Backend(std::make_unique<CpuBackend<float>>(bytes_max), bytes_max);
}

}  // namespace ballast
