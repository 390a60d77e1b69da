// Backend: the operations that a MoE transformer needs, on one kind of device.
//
// The CPU body (backend/cpu) is the oracle; other bodies are compared with it operation by operation. All
// tensors are dense and row-major. Operations enqueue on a Stream and return; on the CPU they have run when
// they return. Sizes that disagree are our own mistake (CHECK). The same operation on the same sizes and
// values gives the same bits, wherever its buffers lie; a row of a matrix product may differ in its last bits
// when the number of rows beside it differs. Memory that an operation only writes may hold anything before,
// NaN too. No operation allocates, but for scratch of a Stream that grows to the largest shape seen. One
// thread uses one Stream at a time; threads with different Streams may share a Backend.
//
// Every pointer is to memory of the backend, indices and row losses too, unless its comment says otherwise;
// the host fills and reads such memory through Copy and Synchronize. A failure of the device is thrown as
// DeviceError: what was enqueued is then lost, and the process should end.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "base/device_error.h"
#include "plan/job_config.h"

namespace ballast {

size_t DTypeBytes(DType dtype);

// The type of the router's values beside a compute type: its logits, probabilities, mixing weights and their
// gradients. Float32 beside bfloat16, whose 8 bits would send tokens to other experts; else the compute type.
DType RouterDType(DType compute);

// Memory of one Backend: owner. Movable, freed by its destructor.
class Buffer {
 public:
  Buffer() = default;
  Buffer(void* data, size_t bytes, std::shared_ptr<void> owner)
      : data_(data), bytes_(bytes), owner_(std::move(owner)) {}
  void* data() const { return data_; }
  size_t bytes() const { return bytes_; }

 private:
  void* data_ = nullptr;
  size_t bytes_ = 0;
  std::shared_ptr<void> owner_;
};

// View of a matrix [rows, columns] of the backend's compute type, or of its router type where an operation
// says so; copies freely, owns nothing.
struct Matrix {
  void* data = nullptr;
  int64_t rows = 0;
  int64_t columns = 0;
  int64_t elements() const { return rows * columns; }
};

// Which operand of a product is transposed; see the methods of these names.
enum class MatmulKind { kNT, kNN, kTN };

struct MatmulTask {
  MatmulKind kind = MatmulKind::kNN;
  Matrix a, b, c;
  bool accumulate = false;
};

// Rows [from, from + rows) of one matrix, which become rows [to, to + rows) of another.
struct RowMove {
  int64_t from = 0;
  int64_t to = 0;
  int64_t rows = 0;
};

// CHECKs the shapes of SwiGLU.
void CheckGateUp(const Matrix& gate_up, const Matrix& hidden);
// CHECKs that it stays inside both.
void CheckMove(const RowMove& move, const Matrix& in, const Matrix& out);

// An order of execution; opaque.
class Stream {
 public:
  virtual ~Stream() = default;
};

// Marks in the order of streams of one device, and the time between them. Of one thread.
class StreamMarks {
 public:
  virtual ~StreamMarks() = default;
  // Sets the next mark behind everything enqueued on the stream so far; it is number `count()` - 1 then.
  virtual void Set(Stream& stream) = 0;
  virtual size_t count() const = 0;
  // Seconds from mark `from` to mark `to`, which the device must have come past: a stream that is
  // synchronized has.
  virtual double Seconds(size_t from, size_t to) const = 0;
  // Forgets all marks.
  virtual void Clear() = 0;
};

struct AttentionShape {
  int64_t sequences = 0;
  int64_t length = 0;  // tokens per sequence; rows are [sequence][position]
  int heads = 0;
  int key_value_heads = 0;
  int head_size = 0;
};

struct AdamWStep {
  double learning_rate = 0;
  double beta1 = 0;
  double beta2 = 0;
  double epsilon = 0;
  double weight_decay = 0;    // 0 for parameters that are not decayed
  double gradient_scale = 1;  // clipping factor, applied to the gradient first
  int64_t step = 0;           // 1 for the first update (bias correction)
};

class Backend {
 public:
  virtual ~Backend() = default;

  virtual std::string name() const = 0;  // "cpu"
  // Of activations, compute weights and the gradients that operations leave.
  virtual DType dtype() const = 0;
  size_t element_bytes() const { return DTypeBytes(dtype()); }
  DType router_dtype() const { return RouterDType(dtype()); }

  // Zeroed memory; ResourceExhausted names bytes asked and in use. `label` is for the memory report.
  virtual absl::StatusOr<Buffer> Allocate(size_t bytes, const std::string& label) = 0;
  // What is allocated and not yet freed; together and by label. From any thread.
  virtual size_t allocated_bytes() const = 0;
  virtual std::map<std::string, size_t> allocated_bytes_by_label() const = 0;
  virtual std::unique_ptr<Stream> NewStream() = 0;
  // Waits until everything enqueued has run.
  virtual absl::Status Synchronize(Stream& stream) = 0;
  // What is enqueued on `stream` from here on runs behind all that is enqueued on `before` by now.
  virtual void RunBehind(Stream& stream, Stream& before) = 0;
  // Null where operations have run when they return: there the clock says what they took.
  virtual std::unique_ptr<StreamMarks> NewMarks() = 0;

  // ---- memory ----
  virtual void Zero(Stream& stream, void* data, size_t bytes) = 0;
  // Either side may be host memory; that side must stay as it is until the stream is synchronized. The ranges
  // do not overlap.
  virtual void Copy(Stream& stream, void* to, const void* from, size_t bytes) = 0;

  // ---- elementwise and reductions ----
  // y += x
  virtual void Add(Stream& stream, Matrix x, Matrix y) = 0;
  // x *= factor
  virtual void Scale(Stream& stream, double factor, Matrix x) = 0;
  // Sum of squares over `elements` values, added up in double in an order that follows from `elements` alone;
  // *out is host memory, written at the latest when the stream is synchronized.
  virtual void SumOfSquares(Stream& stream, const void* data, int64_t elements, double* out) = 0;

  // ---- matrix products ----
  // Sums are of float or better; a product that is accumulated may be rounded to the compute type before it
  // is added.
  // c = a b^T (c [m,n], a [m,k], b [n,k]): a Linear layer's forward with weights [out, in].
  virtual void MatmulNT(Stream& stream, Matrix a, Matrix b, Matrix c, bool accumulate) = 0;
  // c = a b (c [m,n], a [m,k], b [k,n]): gradient to the input.
  virtual void MatmulNN(Stream& stream, Matrix a, Matrix b, Matrix c, bool accumulate) = 0;
  // c = a^T b (c [m,n], a [k,m], b [k,n]): gradient to the weights.
  virtual void MatmulTN(Stream& stream, Matrix a, Matrix b, Matrix c, bool accumulate) = 0;
  // Products that do not depend on one another and may run side by side; each has the bits that it has alone.
  // By default they run one after another.
  virtual void MatmulBatch(Stream& stream, std::span<const MatmulTask> tasks);

  // ---- transformer ----
  // out[i] = table[ids[i]]. Ids are in range (the data reader checked them).
  virtual void EmbeddingForward(Stream& stream, const int32_t* ids, Matrix table, Matrix out) = 0;
  // table_gradient[ids[i]] += out_gradient[i], in the order of i.
  virtual void EmbeddingBackward(Stream& stream, const int32_t* ids, Matrix out_gradient,
                                 Matrix table_gradient) = 0;
  // out = x / rms(x) * weight, rms over a row; inverse_rms [rows] is kept for the backward.
  virtual void RmsNormForward(Stream& stream, Matrix x, const void* weight, double epsilon, Matrix out,
                              double* inverse_rms) = 0;
  // x_gradient += ..., weight_gradient += ... (rows in an order that follows from their number alone).
  virtual void RmsNormBackward(Stream& stream, Matrix x, const void* weight, const double* inverse_rms,
                               Matrix out_gradient, Matrix x_gradient, void* weight_gradient) = 0;
  // Rotates each head of x [sequences * length, heads * head_size] in place by its position ("rotate half"
  // pairing, as in the Mixtral files); backward rotates the other way.
  virtual void Rope(Stream& stream, Matrix x, const AttentionShape& shape, int heads, double theta,
                    bool backward) = 0;
  // Causal grouped-query attention. q [T, heads * head_size], k and v [T, key_value_heads * head_size].
  // The forward leaves in `saved`, AttentionSavedBytes(shape) bytes, what its backward needs beside q, k, v
  // and out. The gradients of q, k and v are overwritten.
  virtual size_t AttentionSavedBytes(const AttentionShape& shape) const = 0;
  virtual void AttentionForward(Stream& stream, Matrix q, Matrix k, Matrix v, const AttentionShape& shape,
                                Matrix out, void* saved) = 0;
  virtual void AttentionBackward(Stream& stream, Matrix q, Matrix k, Matrix v, Matrix out,
                                 const AttentionShape& shape, const void* saved, Matrix out_gradient,
                                 Matrix q_gradient, Matrix k_gradient, Matrix v_gradient) = 0;
  // Row losses (nats) in double, and logits_gradient = (softmax - onehot) * scale; logits and logits_gradient
  // may be the same memory. scale is 1 / tokens of the global batch.
  virtual void CrossEntropy(Stream& stream, Matrix logits, const int32_t* targets, double scale,
                            double* row_loss, Matrix logits_gradient) = 0;

  // ---- MoE ----
  // Logits, probabilities, weights and the gradients of these are of the router type.
  // logits = x weight^T (logits [T, E], x [T, H], weight [E, H]); the sums are not rounded to the compute
  // type.
  virtual void RouterLogits(Stream& stream, Matrix x, Matrix weight, Matrix logits) = 0;
  // out = in, `elements` values of the router type, rounded to the compute type.
  virtual void CastRouter(Stream& stream, const void* in, int64_t elements, void* out) = 0;
  // Softmax over E, top k (ties: lowest expert), renormalised weights. logits, probabilities [T, E]; experts
  // [T, k]; weights [T, k]; log_sum_exp [T] in double.
  virtual void RouterForward(Stream& stream, Matrix logits, int top_k, Matrix probabilities, int32_t* experts,
                             Matrix weights, double* log_sum_exp) = 0;
  // logits_gradient = through the renormalised top-k weights (weights_gradient [T, k]), through the
  // probabilities (probabilities_gradient [T, E], from the load-balance loss) and z_scale * d(log_sum_exp^2)
  // per row.
  virtual void RouterBackward(Stream& stream, Matrix probabilities, const int32_t* experts, Matrix weights,
                              Matrix weights_gradient, Matrix probabilities_gradient,
                              const double* log_sum_exp, double z_scale, Matrix logits_gradient) = 0;
  // The load-balance loss of each of `sequences` runs of equally many rows: E * sum over e of f_e P_e with
  // f_e the share of the run's assignments that went to expert e and P_e its mean probability. loss
  // [sequences]; the gradient is scale * d loss / d probabilities with f held fixed. `experts` as
  // RouterForward wrote them.
  virtual void LoadBalance(Stream& stream, Matrix probabilities, const int32_t* experts, int top_k,
                           int64_t sequences, double scale, double* loss, Matrix probabilities_gradient) = 0;
  // out[r] = the mean of the squares of values[r * length .. (r + 1) * length), r in 0..runs - 1; 0 for a
  // length of 0. The z loss of a sequence, from its log-sum-exps.
  virtual void MeanSquares(Stream& stream, const double* values, int64_t runs, int64_t length,
                           double* out) = 0;
  // The order in which a rank's assignments travel: by expert, then token, then k. experts [tokens, k], each
  // in 0..expert_count - 1. counts [expert_count]; token_of [row of that order]; row_of [token * top_k + k].
  virtual void SortAssignments(Stream& stream, const int32_t* experts, int64_t tokens, int top_k,
                               int expert_count, int64_t* counts, int64_t* token_of, int64_t* row_of) = 0;
  // Copies runs of rows, whose targets do not overlap, from `in` to `out`; `moves` is host memory and may go
  // at once.
  virtual void MoveRows(Stream& stream, Matrix in, std::span<const RowMove> moves, Matrix out) = 0;
  // out[i] = in[index[i]].
  virtual void GatherRows(Stream& stream, Matrix in, const int64_t* index, Matrix out) = 0;
  // out[t] = sum over k, in k order, of weights[t, k] * rows[row_of[t * top_k + k]]; weights of the router
  // type.
  virtual void CombineForward(Stream& stream, Matrix rows, const int64_t* row_of, Matrix weights,
                              Matrix out) = 0;
  // rows_gradient[row_of[t * top_k + k]] = weights[t, k] * out_gradient[t];
  // weights_gradient[t, k] = <out_gradient[t], rows[row_of[t * top_k + k]]>.
  virtual void CombineBackward(Stream& stream, Matrix rows, const int64_t* row_of, Matrix weights,
                               Matrix out_gradient, Matrix rows_gradient, Matrix weights_gradient) = 0;
  // out[t] += sum over k, in k order, of rows[row_of[t * top_k + k]]: gradient of dispatch at the source.
  virtual void SumRows(Stream& stream, Matrix rows, const int64_t* row_of, int top_k, Matrix out) = 0;
  // hidden = silu(gate) * up. gate_up [rows, 2 * intermediate]: a row is its gate, then its up; hidden [rows,
  // intermediate].
  virtual void SwigluForward(Stream& stream, Matrix gate_up, Matrix hidden) = 0;
  virtual void SwigluBackward(Stream& stream, Matrix gate_up, Matrix hidden_gradient,
                              Matrix gate_up_gradient) = 0;

  // ---- optimizer ----
  // Master weights, moments and sums of gradients are of the backend's master type: float on every backend
  // but the double one.
  virtual size_t master_bytes() const = 0;  // of one element
  // One AdamW update of `elements` consecutive values; all but the new compute weights, which it writes as
  // well, is of the master type.
  virtual void AdamW(Stream& stream, const AdamWStep& step, int64_t elements, const void* gradient,
                     void* master, void* moment1, void* moment2, void* compute_weights) = 0;
  // out = master, rounded to the compute type.
  virtual void CastMaster(Stream& stream, const void* master, int64_t elements, void* out) = 0;
  // master = in, or with `add` master += in; `in` is of the compute type.
  virtual void SumIntoMaster(Stream& stream, const void* in, int64_t elements, bool add, void* master) = 0;
  // out += master; `out` is of the compute type, the sum of the master type until it is stored.
  virtual void AddMaster(Stream& stream, const void* master, int64_t elements, void* out) = 0;
  // SumOfSquares of values of the master type.
  virtual void SumOfMasterSquares(Stream& stream, const void* master, int64_t elements, double* out) = 0;

  // ---- wire types ----
  // bf16 <-> compute type, round to nearest even; used by the bf16 compressor.
  virtual void ToBFloat16(Stream& stream, const void* in, int64_t elements, void* out) = 0;
  virtual void FromBFloat16(Stream& stream, const void* in, int64_t elements, void* out) = 0;
};

}  // namespace ballast
