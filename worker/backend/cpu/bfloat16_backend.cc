#include "worker/backend/cpu/bfloat16_backend.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "base/check.h"
#include "worker/backend/cpu/cpu_memory.h"
#include "worker/backend/cpu/kernels.h"

namespace ballast {
namespace {

const uint16_t* In(const void* data) { return static_cast<const uint16_t*>(data); }
uint16_t* Out(void* data) { return static_cast<uint16_t*>(data); }

// A bf16 matrix as float while an operation runs.
class Wide {
 public:
  // Its values.
  explicit Wide(const Matrix& x) : Wide(x, /*read=*/true) {}
  Wide(const void* data, int64_t elements) : Wide(Matrix{const_cast<void*>(data), 1, elements}) {}
  // Room for a result; what `x` holds is not read.
  static Wide Room(const Matrix& x) { return Wide(x, /*read=*/false); }

  Matrix matrix() { return {values_.data(), of_.rows, of_.columns}; }
  float* data() { return values_.data(); }
  cpu::Rows<const float> in() const { return {values_.data(), of_.rows, of_.columns}; }
  cpu::Rows<float> out() { return {values_.data(), of_.rows, of_.columns}; }

  // Rounds the values into the matrix that it is of.
  void Store() const { cpu::ToBFloat16(values_.data(), of_.elements(), Out(of_.data)); }

 private:
  Wide(const Matrix& x, bool read) : of_(x), values_(static_cast<size_t>(x.elements())) {
    if (read) cpu::FromBFloat16(In(x.data), x.elements(), values_.data());
  }
  const Matrix of_;
  std::vector<float> values_;
};

class BFloat16Backend final : public Backend {
 public:
  BFloat16Backend(std::unique_ptr<Backend> wide, size_t bytes_max)
      : wide_(std::move(wide)), memory_(bytes_max) {}

  std::string name() const override { return "cpu"; }
  DType dtype() const override { return DType::kBFloat16; }
  size_t master_bytes() const override { return sizeof(float); }

  absl::StatusOr<Buffer> Allocate(size_t bytes, const std::string& label) override {
    return memory_.Allocate(bytes, label);
  }
  size_t allocated_bytes() const override { return memory_.bytes(); }
  std::map<std::string, size_t> allocated_bytes_by_label() const override { return memory_.bytes_by_label(); }
  std::unique_ptr<Stream> NewStream() override { return wide_->NewStream(); }
  absl::Status Synchronize(Stream& stream) override { return wide_->Synchronize(stream); }
  void RunBehind(Stream& stream, Stream& before) override { wide_->RunBehind(stream, before); }
  std::unique_ptr<StreamMarks> NewMarks() override { return wide_->NewMarks(); }
  void Zero(Stream& stream, void* data, size_t bytes) override { wide_->Zero(stream, data, bytes); }
  void Copy(Stream& stream, void* to, const void* from, size_t bytes) override {
    wide_->Copy(stream, to, from, bytes);
  }

  void Add(Stream& stream, Matrix x, Matrix y) override {
    Wide wide_x(x), wide_y(y);
    wide_->Add(stream, wide_x.matrix(), wide_y.matrix());
    wide_y.Store();
  }
  void Scale(Stream& stream, double factor, Matrix x) override {
    Wide wide(x);
    wide_->Scale(stream, factor, wide.matrix());
    wide.Store();
  }
  void SumOfSquares(Stream& stream, const void* data, int64_t elements, double* out) override {
    wide_->SumOfSquares(stream, Wide(data, elements).data(), elements, out);
  }

  void MatmulNT(Stream& stream, Matrix a, Matrix b, Matrix c, bool accumulate) override {
    Multiply(&Backend::MatmulNT, stream, a, b, c, accumulate);
  }
  void MatmulNN(Stream& stream, Matrix a, Matrix b, Matrix c, bool accumulate) override {
    Multiply(&Backend::MatmulNN, stream, a, b, c, accumulate);
  }
  void MatmulTN(Stream& stream, Matrix a, Matrix b, Matrix c, bool accumulate) override {
    Multiply(&Backend::MatmulTN, stream, a, b, c, accumulate);
  }

  void EmbeddingForward(Stream&, const int32_t* ids, Matrix table, Matrix out) override {
    BALLAST_CHECK(table.columns == out.columns);
    cpu::EmbeddingForward<uint16_t>(ids, InBits(table), Bits(out));
  }
  void EmbeddingBackward(Stream& stream, const int32_t* ids, Matrix out_gradient,
                         Matrix table_gradient) override {
    Wide out(out_gradient), table(table_gradient);
    wide_->EmbeddingBackward(stream, ids, out.matrix(), table.matrix());
    table.Store();
  }
  void RmsNormForward(Stream& stream, Matrix x, const void* weight, double epsilon, Matrix out,
                      double* inverse_rms) override {
    Wide wide_x(x), wide_weight(weight, x.columns), wide_out = Wide::Room(out);
    wide_->RmsNormForward(stream, wide_x.matrix(), wide_weight.data(), epsilon, wide_out.matrix(),
                          inverse_rms);
    wide_out.Store();
  }
  void RmsNormBackward(Stream& stream, Matrix x, const void* weight, const double* inverse_rms,
                       Matrix out_gradient, Matrix x_gradient, void* weight_gradient) override {
    Wide wide_x(x), wide_weight(weight, x.columns), pull(out_gradient), wide_x_gradient(x_gradient),
        wide_weight_gradient(weight_gradient, x.columns);
    wide_->RmsNormBackward(stream, wide_x.matrix(), wide_weight.data(), inverse_rms, pull.matrix(),
                           wide_x_gradient.matrix(), wide_weight_gradient.data());
    wide_x_gradient.Store();
    wide_weight_gradient.Store();
  }
  void Rope(Stream& stream, Matrix x, const AttentionShape& shape, int heads, double theta,
            bool backward) override {
    Wide wide(x);
    wide_->Rope(stream, wide.matrix(), shape, heads, theta, backward);
    wide.Store();
  }
  // The probabilities, in float: they are worked out again on a device, and never rounded.
  size_t AttentionSavedBytes(const AttentionShape& shape) const override {
    return wide_->AttentionSavedBytes(shape);
  }
  void AttentionForward(Stream& stream, Matrix q, Matrix k, Matrix v, const AttentionShape& shape, Matrix out,
                        void* saved) override {
    Wide wide_q(q), wide_k(k), wide_v(v), wide_out = Wide::Room(out);
    wide_->AttentionForward(stream, wide_q.matrix(), wide_k.matrix(), wide_v.matrix(), shape,
                            wide_out.matrix(), saved);
    wide_out.Store();
  }
  void AttentionBackward(Stream&, Matrix q, Matrix k, Matrix v, Matrix out, const AttentionShape& shape,
                         const void* saved, Matrix out_gradient, Matrix q_gradient, Matrix k_gradient,
                         Matrix v_gradient) override {
    const Wide wide_q(q), wide_k(k), wide_v(v), wide_out(out), pull(out_gradient);
    Wide wide_dq = Wide::Room(q_gradient), wide_dk = Wide::Room(k_gradient), wide_dv = Wide::Room(v_gradient);
    std::vector<float> scratch(static_cast<size_t>(shape.length * shape.length));
    cpu::AttentionBackward<float>(wide_q.in(), wide_k.in(), wide_v.in(), wide_out.in(), shape,
                                  static_cast<const float*>(saved), pull.in(), wide_dq.out(), wide_dk.out(),
                                  wide_dv.out(), scratch.data());
    wide_dq.Store();
    wide_dk.Store();
    wide_dv.Store();
  }
  void CrossEntropy(Stream& stream, Matrix logits, const int32_t* targets, double scale, double* row_loss,
                    Matrix logits_gradient) override {
    Wide wide_logits(logits), gradient = Wide::Room(logits_gradient);
    wide_->CrossEntropy(stream, wide_logits.matrix(), targets, scale, row_loss, gradient.matrix());
    gradient.Store();
  }

  void RouterLogits(Stream& stream, Matrix x, Matrix weight, Matrix logits) override {
    Wide wide_x(x), wide_weight(weight);
    wide_->MatmulNT(stream, wide_x.matrix(), wide_weight.matrix(), logits, /*accumulate=*/false);
  }
  void CastRouter(Stream&, const void* in, int64_t elements, void* out) override {
    cpu::ToBFloat16(static_cast<const float*>(in), elements, Out(out));
  }
  void RouterForward(Stream& stream, Matrix logits, int top_k, Matrix probabilities, int32_t* experts,
                     Matrix weights, double* log_sum_exp) override {
    wide_->RouterForward(stream, logits, top_k, probabilities, experts, weights, log_sum_exp);
  }
  void RouterBackward(Stream& stream, Matrix probabilities, const int32_t* experts, Matrix weights,
                      Matrix weights_gradient, Matrix probabilities_gradient, const double* log_sum_exp,
                      double z_scale, Matrix logits_gradient) override {
    wide_->RouterBackward(stream, probabilities, experts, weights, weights_gradient, probabilities_gradient,
                          log_sum_exp, z_scale, logits_gradient);
  }
  void LoadBalance(Stream& stream, Matrix probabilities, const int32_t* experts, int top_k, int64_t sequences,
                   double scale, double* loss, Matrix probabilities_gradient) override {
    wide_->LoadBalance(stream, probabilities, experts, top_k, sequences, scale, loss, probabilities_gradient);
  }
  void MeanSquares(Stream& stream, const double* values, int64_t runs, int64_t length, double* out) override {
    wide_->MeanSquares(stream, values, runs, length, out);
  }
  void SortAssignments(Stream& stream, const int32_t* experts, int64_t tokens, int top_k, int expert_count,
                       int64_t* counts, int64_t* token_of, int64_t* row_of) override {
    wide_->SortAssignments(stream, experts, tokens, top_k, expert_count, counts, token_of, row_of);
  }
  void MoveRows(Stream&, Matrix in, std::span<const RowMove> moves, Matrix out) override {
    cpu::MoveRows(in, moves, out, element_bytes());
  }
  void GatherRows(Stream&, Matrix in, const int64_t* index, Matrix out) override {
    BALLAST_CHECK(in.columns == out.columns);
    cpu::GatherRows<uint16_t>(InBits(in), index, Bits(out));
  }
  void CombineForward(Stream& stream, Matrix rows, const int64_t* row_of, Matrix weights,
                      Matrix out) override {
    Wide wide_rows(rows), wide_out = Wide::Room(out);
    wide_->CombineForward(stream, wide_rows.matrix(), row_of, weights, wide_out.matrix());
    wide_out.Store();
  }
  void CombineBackward(Stream& stream, Matrix rows, const int64_t* row_of, Matrix weights,
                       Matrix out_gradient, Matrix rows_gradient, Matrix weights_gradient) override {
    Wide wide_rows(rows), pull(out_gradient), wide_gradient = Wide::Room(rows_gradient);
    wide_->CombineBackward(stream, wide_rows.matrix(), row_of, weights, pull.matrix(), wide_gradient.matrix(),
                           weights_gradient);
    wide_gradient.Store();
  }
  void SumRows(Stream& stream, Matrix rows, const int64_t* row_of, int top_k, Matrix out) override {
    Wide wide_rows(rows), wide_out(out);
    wide_->SumRows(stream, wide_rows.matrix(), row_of, top_k, wide_out.matrix());
    wide_out.Store();
  }
  void SwigluForward(Stream& stream, Matrix gate_up, Matrix hidden) override {
    Wide wide_gate_up(gate_up), wide_hidden = Wide::Room(hidden);
    wide_->SwigluForward(stream, wide_gate_up.matrix(), wide_hidden.matrix());
    wide_hidden.Store();
  }
  void SwigluBackward(Stream& stream, Matrix gate_up, Matrix hidden_gradient,
                      Matrix gate_up_gradient) override {
    Wide wide_gate_up(gate_up), pull(hidden_gradient), wide_gradient = Wide::Room(gate_up_gradient);
    wide_->SwigluBackward(stream, wide_gate_up.matrix(), pull.matrix(), wide_gradient.matrix());
    wide_gradient.Store();
  }

  void AdamW(Stream& stream, const AdamWStep& step, int64_t elements, const void* gradient, void* master,
             void* moment1, void* moment2, void* compute_weights) override {
    Wide weights = Wide::Room({compute_weights, 1, elements});
    wide_->AdamW(stream, step, elements, gradient, master, moment1, moment2, weights.data());
    weights.Store();
  }
  void CastMaster(Stream&, const void* master, int64_t elements, void* out) override {
    cpu::ToBFloat16(static_cast<const float*>(master), elements, Out(out));
  }
  void SumIntoMaster(Stream& stream, const void* in, int64_t elements, bool add, void* master) override {
    InParts(elements, [&](int64_t first, int64_t count) {
      wide_->SumIntoMaster(stream, Wide(In(in) + first, count).data(), count, add,
                           static_cast<float*>(master) + first);
    });
  }
  void AddMaster(Stream& stream, const void* master, int64_t elements, void* out) override {
    InParts(elements, [&](int64_t first, int64_t count) {
      Wide sum(Matrix{Out(out) + first, 1, count});
      wide_->AddMaster(stream, static_cast<const float*>(master) + first, count, sum.data());
      sum.Store();
    });
  }
  void SumOfMasterSquares(Stream& stream, const void* master, int64_t elements, double* out) override {
    wide_->SumOfSquares(stream, master, elements, out);
  }
  void ToBFloat16(Stream& stream, const void* in, int64_t elements, void* out) override {
    Copy(stream, out, in, static_cast<size_t>(elements) * sizeof(uint16_t));
  }
  void FromBFloat16(Stream& stream, const void* in, int64_t elements, void* out) override {
    Copy(stream, out, in, static_cast<size_t>(elements) * sizeof(uint16_t));
  }

 private:
  // For what runs over all of a rank's parameters, which as float would take twice the memory.
  template <class Body>
  static void InParts(int64_t elements, const Body& body) {
    constexpr int64_t kPart = int64_t{1} << 16;
    for (int64_t first = 0; first < elements; first += kPart) body(first, std::min(kPart, elements - first));
  }

  using Product = void (Backend::*)(Stream&, Matrix, Matrix, Matrix, bool);
  void Multiply(Product product, Stream& stream, const Matrix& a, const Matrix& b, const Matrix& c,
                bool accumulate) {
    Wide wide_a(a), wide_b(b), wide_c = accumulate ? Wide(c) : Wide::Room(c);
    (wide_.get()->*product)(stream, wide_a.matrix(), wide_b.matrix(), wide_c.matrix(), accumulate);
    wide_c.Store();
  }
  // For operations that only move values.
  static cpu::Rows<const uint16_t> InBits(const Matrix& x) { return {In(x.data), x.rows, x.columns}; }
  static cpu::Rows<uint16_t> Bits(const Matrix& x) { return {Out(x.data), x.rows, x.columns}; }

  const std::unique_ptr<Backend> wide_;
  CpuMemory memory_;
};

}  // namespace

std::unique_ptr<Backend> MakeBFloat16Backend(std::unique_ptr<Backend> wide, size_t bytes_max) {
  return std::make_unique<BFloat16Backend>(std::move(wide), bytes_max);
}

}  // namespace ballast
