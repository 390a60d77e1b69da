// A Backend that hands everything on to another one; tests override what they want to watch or change.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "worker/backend/backend.h"

namespace ballast {

class ForwardingBackend : public Backend {
 public:
  // `to` must outlive it.
  explicit ForwardingBackend(Backend& to) : to_(to) {}

  std::string name() const override { return to_.name(); }
  DType dtype() const override { return to_.dtype(); }
  absl::StatusOr<Buffer> Allocate(size_t bytes, const std::string& label) override {
    return to_.Allocate(bytes, label);
  }
  size_t allocated_bytes() const override { return to_.allocated_bytes(); }
  std::map<std::string, size_t> allocated_bytes_by_label() const override {
    return to_.allocated_bytes_by_label();
  }
  std::unique_ptr<Stream> NewStream() override { return to_.NewStream(); }
  absl::Status Synchronize(Stream& stream) override { return to_.Synchronize(stream); }
  void RunBehind(Stream& stream, Stream& before) override { to_.RunBehind(stream, before); }
  std::unique_ptr<StreamMarks> NewMarks() override { return to_.NewMarks(); }
  void Zero(Stream& stream, void* data, size_t bytes) override { return to_.Zero(stream, data, bytes); }
  void Copy(Stream& stream, void* to, const void* from, size_t bytes) override {
    return to_.Copy(stream, to, from, bytes);
  }
  void Add(Stream& stream, Matrix x, Matrix y) override { return to_.Add(stream, x, y); }
  void Scale(Stream& stream, double factor, Matrix x) override { return to_.Scale(stream, factor, x); }
  void SumOfSquares(Stream& stream, const void* data, int64_t elements, double* out) override {
    return to_.SumOfSquares(stream, data, elements, out);
  }
  void MatmulNT(Stream& stream, Matrix a, Matrix b, Matrix c, bool accumulate) override {
    return to_.MatmulNT(stream, a, b, c, accumulate);
  }
  void MatmulNN(Stream& stream, Matrix a, Matrix b, Matrix c, bool accumulate) override {
    return to_.MatmulNN(stream, a, b, c, accumulate);
  }
  void MatmulTN(Stream& stream, Matrix a, Matrix b, Matrix c, bool accumulate) override {
    return to_.MatmulTN(stream, a, b, c, accumulate);
  }
  void MatmulBatch(Stream& stream, std::span<const MatmulTask> tasks) override {
    return to_.MatmulBatch(stream, tasks);
  }
  void EmbeddingForward(Stream& stream, const int32_t* ids, Matrix table, Matrix out) override {
    return to_.EmbeddingForward(stream, ids, table, out);
  }
  void EmbeddingBackward(Stream& stream, const int32_t* ids, Matrix out_gradient,
                         Matrix table_gradient) override {
    return to_.EmbeddingBackward(stream, ids, out_gradient, table_gradient);
  }
  void RmsNormForward(Stream& stream, Matrix x, const void* weight, double epsilon, Matrix out,
                      double* inverse_rms) override {
    return to_.RmsNormForward(stream, x, weight, epsilon, out, inverse_rms);
  }
  void RmsNormBackward(Stream& stream, Matrix x, const void* weight, const double* inverse_rms,
                       Matrix out_gradient, Matrix x_gradient, void* weight_gradient) override {
    return to_.RmsNormBackward(stream, x, weight, inverse_rms, out_gradient, x_gradient, weight_gradient);
  }
  void Rope(Stream& stream, Matrix x, const AttentionShape& shape, int heads, double theta,
            bool backward) override {
    return to_.Rope(stream, x, shape, heads, theta, backward);
  }
  size_t AttentionSavedBytes(const AttentionShape& shape) const override {
    return to_.AttentionSavedBytes(shape);
  }
  void AttentionForward(Stream& stream, Matrix q, Matrix k, Matrix v, const AttentionShape& shape, Matrix out,
                        void* saved) override {
    return to_.AttentionForward(stream, q, k, v, shape, out, saved);
  }
  void AttentionBackward(Stream& stream, Matrix q, Matrix k, Matrix v, Matrix out,
                         const AttentionShape& shape, const void* saved, Matrix out_gradient,
                         Matrix q_gradient, Matrix k_gradient, Matrix v_gradient) override {
    return to_.AttentionBackward(stream, q, k, v, out, shape, saved, out_gradient, q_gradient, k_gradient,
                                 v_gradient);
  }
  void CrossEntropy(Stream& stream, Matrix logits, const int32_t* targets, double scale, double* row_loss,
                    Matrix logits_gradient) override {
    return to_.CrossEntropy(stream, logits, targets, scale, row_loss, logits_gradient);
  }
  void RouterLogits(Stream& stream, Matrix x, Matrix weight, Matrix logits) override {
    return to_.RouterLogits(stream, x, weight, logits);
  }
  void CastRouter(Stream& stream, const void* in, int64_t elements, void* out) override {
    return to_.CastRouter(stream, in, elements, out);
  }
  void RouterForward(Stream& stream, Matrix logits, int top_k, Matrix probabilities, int32_t* experts,
                     Matrix weights, double* log_sum_exp) override {
    return to_.RouterForward(stream, logits, top_k, probabilities, experts, weights, log_sum_exp);
  }
  void RouterBackward(Stream& stream, Matrix probabilities, const int32_t* experts, Matrix weights,
                      Matrix weights_gradient, Matrix probabilities_gradient, const double* log_sum_exp,
                      double z_scale, Matrix logits_gradient) override {
    return to_.RouterBackward(stream, probabilities, experts, weights, weights_gradient,
                              probabilities_gradient, log_sum_exp, z_scale, logits_gradient);
  }
  void LoadBalance(Stream& stream, Matrix probabilities, const int32_t* experts, int top_k, int64_t sequences,
                   double scale, double* loss, Matrix probabilities_gradient) override {
    return to_.LoadBalance(stream, probabilities, experts, top_k, sequences, scale, loss,
                           probabilities_gradient);
  }
  void MeanSquares(Stream& stream, const double* values, int64_t runs, int64_t length, double* out) override {
    return to_.MeanSquares(stream, values, runs, length, out);
  }
  void SortAssignments(Stream& stream, const int32_t* experts, int64_t tokens, int top_k, int expert_count,
                       int64_t* counts, int64_t* token_of, int64_t* row_of) override {
    return to_.SortAssignments(stream, experts, tokens, top_k, expert_count, counts, token_of, row_of);
  }
  void MoveRows(Stream& stream, Matrix in, std::span<const RowMove> moves, Matrix out) override {
    return to_.MoveRows(stream, in, moves, out);
  }
  void GatherRows(Stream& stream, Matrix in, const int64_t* index, Matrix out) override {
    return to_.GatherRows(stream, in, index, out);
  }
  void CombineForward(Stream& stream, Matrix rows, const int64_t* row_of, Matrix weights,
                      Matrix out) override {
    return to_.CombineForward(stream, rows, row_of, weights, out);
  }
  void CombineBackward(Stream& stream, Matrix rows, const int64_t* row_of, Matrix weights,
                       Matrix out_gradient, Matrix rows_gradient, Matrix weights_gradient) override {
    return to_.CombineBackward(stream, rows, row_of, weights, out_gradient, rows_gradient, weights_gradient);
  }
  void SumRows(Stream& stream, Matrix rows, const int64_t* row_of, int top_k, Matrix out) override {
    return to_.SumRows(stream, rows, row_of, top_k, out);
  }
  void SwigluForward(Stream& stream, Matrix gate_up, Matrix hidden) override {
    return to_.SwigluForward(stream, gate_up, hidden);
  }
  void SwigluBackward(Stream& stream, Matrix gate_up, Matrix hidden_gradient,
                      Matrix gate_up_gradient) override {
    return to_.SwigluBackward(stream, gate_up, hidden_gradient, gate_up_gradient);
  }
  void AdamW(Stream& stream, const AdamWStep& step, int64_t elements, const void* gradient, void* master,
             void* moment1, void* moment2, void* compute_weights) override {
    return to_.AdamW(stream, step, elements, gradient, master, moment1, moment2, compute_weights);
  }
  size_t master_bytes() const override { return to_.master_bytes(); }
  void CastMaster(Stream& stream, const void* master, int64_t elements, void* out) override {
    return to_.CastMaster(stream, master, elements, out);
  }
  void SumIntoMaster(Stream& stream, const void* in, int64_t elements, bool add, void* master) override {
    return to_.SumIntoMaster(stream, in, elements, add, master);
  }
  void AddMaster(Stream& stream, const void* master, int64_t elements, void* out) override {
    return to_.AddMaster(stream, master, elements, out);
  }
  void SumOfMasterSquares(Stream& stream, const void* master, int64_t elements, double* out) override {
    return to_.SumOfMasterSquares(stream, master, elements, out);
  }
  void ToBFloat16(Stream& stream, const void* in, int64_t elements, void* out) override {
    return to_.ToBFloat16(stream, in, elements, out);
  }
  void FromBFloat16(Stream& stream, const void* in, int64_t elements, void* out) override {
    return to_.FromBFloat16(stream, in, elements, out);
  }

 protected:
  Backend& to_;
};

}  // namespace ballast
