// The CPU backend's operations as functions of typed rows: one operation, or one family, per file beside this
// one.
//
// What each computes stands at the method of Backend that it serves (backend.h); here are only the shapes.
// Sums over a row run in index order, so a result depends on its inputs alone. T is float or double, and in
// operations that only move values bf16's bits (uint16_t), too.
#pragma once

#include <cstdint>
#include <span>

#include "worker/backend/backend.h"

namespace ballast::cpu {

// A dense row-major matrix. As an argument it is checked by the caller (cpu_backend.cc).
template <class T>
struct Rows {
  T* data = nullptr;
  int64_t rows = 0;
  int64_t columns = 0;
  T* operator[](int64_t row) const { return data + row * columns; }
  int64_t elements() const { return rows * columns; }
};

template <class T>
void Add(int64_t elements, const T* x, T* y);
template <class T>
void Scale(int64_t elements, double factor, T* x);
template <class T>
double SumOfSquares(int64_t elements, const T* x);

template <class T>
void EmbeddingForward(const int32_t* ids, Rows<const T> table, Rows<T> out);
template <class T>
void EmbeddingBackward(const int32_t* ids, Rows<const T> out_gradient, Rows<T> table_gradient);

template <class T>
void RmsNormForward(Rows<const T> x, const T* weight, double epsilon, Rows<T> out, double* inverse_rms);
template <class T>
void RmsNormBackward(Rows<const T> x, const T* weight, const double* inverse_rms, Rows<const T> out_gradient,
                     Rows<T> x_gradient, T* weight_gradient);

// `scratch` has room for head_size values.
template <class T>
void Rope(Rows<T> x, const AttentionShape& shape, int heads, double theta, bool backward, T* scratch);

template <class T>
void AttentionForward(Rows<const T> q, Rows<const T> k, Rows<const T> v, const AttentionShape& shape,
                      Rows<T> out, T* probabilities);
// `scratch` has room for length * length values. The sum over a row of p dp is <out, out_gradient>, too: it
// is taken from `out` where that has data (as stored, rounded), else from the probabilities.
template <class T>
void AttentionBackward(Rows<const T> q, Rows<const T> k, Rows<const T> v, Rows<const T> out,
                       const AttentionShape& shape, const T* probabilities, Rows<const T> out_gradient,
                       Rows<T> q_gradient, Rows<T> k_gradient, Rows<T> v_gradient, T* scratch);

template <class T>
void CrossEntropy(Rows<const T> logits, const int32_t* targets, double scale, double* row_loss,
                  Rows<T> logits_gradient);

template <class T>
void RouterForward(Rows<const T> logits, int top_k, Rows<T> probabilities, int32_t* experts, Rows<T> weights,
                   double* log_sum_exp);
template <class T>
void RouterBackward(Rows<const T> probabilities, const int32_t* experts, Rows<const T> weights,
                    Rows<const T> weights_gradient, Rows<const T> probabilities_gradient,
                    const double* log_sum_exp, double z_scale, Rows<T> logits_gradient);

// `scratch` has room for one value per expert.
template <class T>
void LoadBalance(Rows<const T> probabilities, const int32_t* experts, int top_k, int64_t sequences,
                 double scale, double* loss, Rows<T> probabilities_gradient, double* scratch);

// Of elements of any type.
void MoveRows(Matrix in, std::span<const RowMove> moves, Matrix out, size_t element_bytes);
void MeanSquares(const double* values, int64_t runs, int64_t length, double* out);
// `scratch` has room for expert_count values.
void SortAssignments(std::span<const int32_t> experts, int top_k, int expert_count, int64_t* counts,
                     int64_t* token_of, int64_t* row_of, int64_t* scratch);

template <class T>
void GatherRows(Rows<const T> in, const int64_t* index, Rows<T> out);
template <class T>
void CombineForward(Rows<const T> rows, const int64_t* row_of, Rows<const T> weights, Rows<T> out);
template <class T>
void CombineBackward(Rows<const T> rows, const int64_t* row_of, Rows<const T> weights,
                     Rows<const T> out_gradient, Rows<T> rows_gradient, Rows<T> weights_gradient);
template <class T>
void SumRows(Rows<const T> rows, const int64_t* row_of, int top_k, Rows<T> out);

template <class T>
void SwigluForward(Rows<const T> gate_up, Rows<T> hidden);
template <class T>
void SwigluBackward(Rows<const T> gate_up, Rows<const T> hidden_gradient, Rows<T> gate_up_gradient);

template <class T>
void AdamW(const AdamWStep& step, int64_t elements, const T* gradient, T* master, T* moment1, T* moment2,
           T* compute_weights);

template <class T>
void ToBFloat16(const T* in, int64_t elements, uint16_t* out);
template <class T>
void FromBFloat16(const uint16_t* in, int64_t elements, T* out);

}  // namespace ballast::cpu
