// Times the operations that move data and hardly compute: all but products and attention, which have
// benchmarks of their own. What bounds them is memory, so each is held against a copy of as many bytes.
//
//   operations_time [--tokens 8192] [--hidden 4096] [--intermediate 2048] [--experts 64] [--top-k 8]
//                   [--vocabulary 32000] [--device cuda|cpu] [--iterations 10] [--samples 7]
//
// Prints a JSON object: {"case", "copy_gb_s", "operations": {"rms_norm_forward": {"ms", "gb_s"}, ...}}. An
// operation's bytes are those of its operands that it must read and write, each once.
#include <CLI/CLI.hpp>
#include <functional>
#include <iostream>
#include <numeric>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "bench/layer_case/bench_backend.h"
#include "bench/layer_case/operation_bench.h"

namespace ballast::bench {
namespace {

struct Options {
  int64_t tokens = 8192, hidden = 4096, intermediate = 2048, vocabulary = 32000;
  int experts = 64, top_k = 8;
  std::string device = "cuda";
  int iterations = 10;
  int samples = 7;
};

class Operations {
 public:
  Operations(const Options& options, Backend& backend)
      : o_(options), bench_(backend, options.iterations, options.samples), backend_(backend) {}

  void Run() {
    const int64_t large = int64_t{1} << 28;
    void* const from = bench_.Memory(large);
    void* const to = bench_.Memory(large);
    const double copy = 2 * static_cast<double>(large) /
                        bench_.Seconds([&] { backend_.Copy(bench_.stream(), to, from, large); });
    Residual();
    Vocabulary();
    Gate();
    Rows();
    Experts();
    Update();
    std::cout << absl::StrCat("{\"case\": \"T=", o_.tokens, " H=", o_.hidden, " I=", o_.intermediate,
                              " E=", o_.experts, " k=", o_.top_k, " V=", o_.vocabulary,
                              "\", \"copy_gb_s\": ", copy / 1e9, ", \"operations\": {", found_, "}}\n");
  }

 private:
  static constexpr int64_t kHalf = 2, kFloat = 4, kInt = 4, kLong = 8, kDouble = 8;

  void Measure(const std::string& name, int64_t bytes, const std::function<void()>& call) {
    const double seconds = bench_.Seconds(call);
    absl::StrAppend(&found_, found_.empty() ? "" : ", ", "\"", name, "\": {\"ms\": ", seconds * 1e3,
                    ", \"gb_s\": ", static_cast<double>(bytes) / seconds / 1e9, "}");
  }

  void Residual() {
    Stream& on = bench_.stream();
    const int64_t t = o_.tokens, h = o_.hidden;
    const Matrix x = bench_.Normal(t, h), y = bench_.Normal(t, h), z = bench_.Normal(t, h);
    const Matrix weight = bench_.Normal(1, h), weight_gradient = bench_.Normal(1, h);
    auto* const inverse = static_cast<double*>(bench_.Memory(t * kDouble));
    const int64_t rows = t * h * kHalf;
    Measure("add", 3 * rows, [&] { backend_.Add(on, x, y); });
    Measure("scale", 2 * rows, [&] { backend_.Scale(on, 1.0, x); });
    double squares = 0;
    Measure("sum_of_squares", rows, [&] { backend_.SumOfSquares(on, x.data, x.elements(), &squares); });
    Measure("rms_norm_forward", 2 * rows,
            [&] { backend_.RmsNormForward(on, x, weight.data, 1e-5, y, inverse); });
    Measure("rms_norm_backward", 4 * rows,
            [&] { backend_.RmsNormBackward(on, x, weight.data, inverse, y, z, weight_gradient.data); });
    const AttentionShape shape{.sequences = 1,
                               .length = t,
                               .heads = static_cast<int>(h / 64),
                               .key_value_heads = static_cast<int>(h / 64),
                               .head_size = 64};
    Measure("rope", 2 * rows, [&] { backend_.Rope(on, x, shape, shape.heads, 1e4, false); });
    Measure("to_bfloat16", 2 * rows, [&] { backend_.ToBFloat16(on, x.data, x.elements(), y.data); });
  }

  void Vocabulary() {
    Stream& on = bench_.stream();
    const int64_t t = o_.tokens, h = o_.hidden, v = o_.vocabulary;
    std::vector<int32_t> ids(t);
    for (int32_t& id : ids) id = static_cast<int32_t>(rng_.Below(v));
    int32_t* const at = bench_.Values(ids);
    const Matrix table = bench_.Normal(v, h), out = bench_.Normal(t, h);
    Measure("embedding_forward", 2 * t * h * kHalf, [&] { backend_.EmbeddingForward(on, at, table, out); });
    Measure("embedding_backward", 3 * t * h * kHalf, [&] { backend_.EmbeddingBackward(on, at, out, table); });
    const Matrix logits = bench_.Normal(t, v);
    auto* const loss = static_cast<double*>(bench_.Memory(t * kDouble));
    Measure("cross_entropy", 2 * t * v * kHalf,
            [&] { backend_.CrossEntropy(on, logits, at, 1.0 / static_cast<double>(t), loss, logits); });
  }

  void Gate() {
    Stream& on = bench_.stream();
    const int64_t t = o_.tokens, h = o_.hidden, e = o_.experts, k = o_.top_k;
    const Matrix x = bench_.Normal(t, h), router = bench_.Normal(e, h);
    const Matrix logits = bench_.NormalFloats(t, e), probabilities = bench_.NormalFloats(t, e),
                 probabilities_gradient = bench_.NormalFloats(t, e),
                 logits_gradient = bench_.NormalFloats(t, e);
    const Matrix weights = bench_.NormalFloats(t, k), weights_gradient = bench_.NormalFloats(t, k);
    experts_ = static_cast<int32_t*>(bench_.Memory(t * k * kInt));
    auto* const sums = static_cast<double*>(bench_.Memory(t * kDouble));
    const int64_t table = t * e * kFloat, chosen = t * k * (kFloat + kInt);
    Measure("router_logits", t * h * kHalf + table, [&] { backend_.RouterLogits(on, x, router, logits); });
    Measure("router_forward", 2 * table + chosen,
            [&] { backend_.RouterForward(on, logits, o_.top_k, probabilities, experts_, weights, sums); });
    Measure("router_backward", 3 * table + chosen + t * k * kFloat, [&] {
      backend_.RouterBackward(on, probabilities, experts_, weights, weights_gradient, probabilities_gradient,
                              sums, 1e-3, logits_gradient);
    });
    const int64_t sequences = std::max<int64_t>(1, t / 4096);
    auto* const loss = static_cast<double*>(bench_.Memory(sequences * kDouble));
    Measure("load_balance", 2 * table + t * k * kInt, [&] {
      backend_.LoadBalance(on, probabilities, experts_, o_.top_k, sequences, 1e-2, loss,
                           probabilities_gradient);
    });
    weights_ = weights, weights_gradient_ = weights_gradient;
  }

  // The ways of rows, after the router has chosen.
  void Rows() {
    Stream& on = bench_.stream();
    const int64_t t = o_.tokens, h = o_.hidden, k = o_.top_k;
    auto* const counts = static_cast<int64_t*>(bench_.Memory(o_.experts * kLong));
    auto* const token_of = static_cast<int64_t*>(bench_.Memory(t * k * kLong));
    auto* const row_of = static_cast<int64_t*>(bench_.Memory(t * k * kLong));
    Measure("sort_assignments", t * k * (kInt + 2 * kLong), [&] {
      backend_.SortAssignments(on, experts_, t, o_.top_k, o_.experts, counts, token_of, row_of);
    });
    const Matrix x = bench_.Normal(t, h);
    const Matrix rows{bench_.Memory(t * k * h * kHalf), t * k, h},
        others{bench_.Memory(t * k * h * kHalf), t * k, h};
    const int64_t source = t * h * kHalf, spread = t * k * h * kHalf;
    Measure("gather_rows", source + spread, [&] { backend_.GatherRows(on, x, token_of, rows); });
    std::vector<RowMove> moves;
    const int64_t run = std::max<int64_t>(1, t * k / o_.experts);
    for (int64_t at = 0; at + run <= t * k; at += run) moves.push_back({at, t * k - run - at, run});
    Measure("move_rows", 2 * spread, [&] { backend_.MoveRows(on, rows, moves, others); });
    Measure("combine_forward", source + spread,
            [&] { backend_.CombineForward(on, rows, row_of, weights_, x); });
    Measure("combine_backward", source + 2 * spread,
            [&] { backend_.CombineBackward(on, rows, row_of, weights_, x, others, weights_gradient_); });
    Measure("sum_rows", 2 * source + spread, [&] { backend_.SumRows(on, rows, row_of, o_.top_k, x); });
  }

  void Experts() {
    Stream& on = bench_.stream();
    const int64_t rows = o_.tokens, i = o_.intermediate;
    const Matrix gate_up = bench_.Normal(rows, 2 * i), hidden = bench_.Normal(rows, i),
                 gate_up_gradient = bench_.Normal(rows, 2 * i);
    const int64_t bytes = rows * i * kHalf;
    Measure("swiglu_forward", 3 * bytes, [&] { backend_.SwigluForward(on, gate_up, hidden); });
    Measure("swiglu_backward", 5 * bytes,
            [&] { backend_.SwigluBackward(on, gate_up, hidden, gate_up_gradient); });
  }

  void Update() {
    Stream& on = bench_.stream();
    const int64_t elements = o_.hidden * o_.intermediate * 3;
    const Matrix gradient = bench_.Normal(1, elements), weights = bench_.Normal(1, elements);
    const size_t bytes = static_cast<size_t>(elements) * backend_.master_bytes();
    void* const sum = bench_.Memory(bytes);
    void* const master = bench_.Memory(bytes);
    void* const moment1 = bench_.Memory(bytes);
    void* const moment2 = bench_.Memory(bytes);
    const AdamWStep step{.learning_rate = 1e-4,
                         .beta1 = 0.9,
                         .beta2 = 0.95,
                         .epsilon = 1e-8,
                         .weight_decay = 0.1,
                         .gradient_scale = 1,
                         .step = 1};
    Measure("sum_into_master", elements * (2 * kFloat + kHalf),
            [&] { backend_.SumIntoMaster(on, gradient.data, elements, /*add=*/true, sum); });
    Measure("add_master", elements * (kFloat + 2 * kHalf),
            [&] { backend_.AddMaster(on, sum, elements, gradient.data); });
    Measure("adamw", elements * (7 * kFloat + kHalf),
            [&] { backend_.AdamW(on, step, elements, sum, master, moment1, moment2, weights.data); });
    Measure("cast_master", elements * (kFloat + kHalf),
            [&] { backend_.CastMaster(on, master, elements, weights.data); });
  }

  const Options& o_;
  OperationBench bench_;
  Backend& backend_;
  Rng rng_{2};
  int32_t* experts_ = nullptr;  // [tokens, top_k], of the gate
  Matrix weights_, weights_gradient_;
  std::string found_;
};

int Main(int argc, char** argv) {
  Options options;
  CLI::App app("Times the operations that memory bounds, in bfloat16.");
  constexpr int kMax = 1 << 20;
  const auto size = [&](const char* name, auto& value) {
    app.add_option(name, value, "")->check(CLI::Range(1, kMax))->capture_default_str();
  };
  size("--tokens", options.tokens);
  app.add_option("--hidden", options.hidden, "a multiple of 64")
      ->check(CLI::Range(64, kMax))
      ->capture_default_str();
  size("--intermediate", options.intermediate);
  size("--vocabulary", options.vocabulary);
  size("--experts", options.experts);
  size("--top-k", options.top_k);
  app.add_option("--device", options.device, "")
      ->check(CLI::IsMember({"cuda", "cpu"}))
      ->capture_default_str();
  size("--iterations", options.iterations);
  size("--samples", options.samples);
  CLI11_PARSE(app, argc, argv);
  if (options.hidden % 64 != 0 || options.top_k > options.experts) {
    std::cerr << "operations_time: found --hidden " << options.hidden << " and --top-k " << options.top_k
              << ", allowed are multiples of 64, and at most --experts " << options.experts << "\n";
    return 2;
  }
  const absl::StatusOr<std::unique_ptr<Backend>> backend = MakeBenchBackend(options.device);
  if (!backend.ok()) {
    std::cerr << "operations_time: " << backend.status().message() << "\n";
    return 1;
  }
  Operations(options, **backend).Run();
  return 0;
}

}  // namespace
}  // namespace ballast::bench

int main(int argc, char** argv) { return ballast::bench::Main(argc, argv); }
