// Times causal grouped-query attention in bfloat16, forward and backward.
//
//   attention_time --sequences 8 --length 1024 --heads 16 --key-value-heads 4 --head-size 64 [--device
//   cuda|cpu]
//                  [--iterations 10] [--samples 7]
//
// Prints {"case", "forward_ms", "forward_tflops", "backward_ms", "backward_tflops"}: medians over samples; a
// sample is the mean of `iterations` calls between two synchronizations. Operations: two products forward and
// five backward, below the diagonal. bench/attention/compare.py runs it beside a baseline.
#include <CLI/CLI.hpp>
#include <iostream>

#include "absl/strings/str_cat.h"
#include "bench/layer_case/bench_backend.h"
#include "bench/layer_case/operation_bench.h"

namespace ballast::bench {
namespace {

struct Options {
  AttentionShape shape{.sequences = 8, .length = 1024, .heads = 16, .key_value_heads = 4, .head_size = 64};
  std::string device = "cuda";
  int iterations = 10;
  int samples = 7;
};

void Run(const Options& options, Backend& backend) {
  OperationBench bench(backend, options.iterations, options.samples);
  const AttentionShape& s = options.shape;
  const int64_t tokens = s.sequences * s.length;
  const int64_t width = int64_t{s.heads} * s.head_size, shared = int64_t{s.key_value_heads} * s.head_size;
  const auto random = [&](int64_t columns) { return bench.Normal(tokens, columns); };
  const Matrix q = random(width), k = random(shared), v = random(shared), out = random(width),
               out_gradient = random(width), q_gradient = random(width), k_gradient = random(shared),
               v_gradient = random(shared);
  void* const saved = bench.Memory(backend.AttentionSavedBytes(s));
  const double forward =
      bench.Seconds([&] { backend.AttentionForward(bench.stream(), q, k, v, s, out, saved); });
  const double backward = bench.Seconds([&] {
    backend.AttentionBackward(bench.stream(), q, k, v, out, s, saved, out_gradient, q_gradient, k_gradient,
                              v_gradient);
  });
  // Multiplications and additions of one product over the pairs of a query and a key that it sees.
  const double product = static_cast<double>(s.sequences * s.heads) * static_cast<double>(s.length) *
                         static_cast<double>(s.length + 1) * s.head_size;
  std::cout << absl::StrCat("{\"case\": \"B=", s.sequences, " S=", s.length, " heads=", s.heads, "/",
                            s.key_value_heads, "x", s.head_size, "\", \"forward_ms\": ", forward * 1e3,
                            ", \"forward_tflops\": ", 2 * product / forward / 1e12,
                            ", \"backward_ms\": ", backward * 1e3,
                            ", \"backward_tflops\": ", 5 * product / backward / 1e12, "}\n");
}

int Main(int argc, char** argv) {
  Options options;
  AttentionShape& s = options.shape;
  CLI::App app("Times causal grouped-query attention in bfloat16, forward and backward.");
  constexpr int kMax = 1 << 20;
  app.add_option("--sequences", s.sequences, "")->check(CLI::Range(1, kMax))->capture_default_str();
  app.add_option("--length", s.length, "tokens of a sequence")
      ->check(CLI::Range(1, kMax))
      ->capture_default_str();
  app.add_option("--heads", s.heads, "")->check(CLI::Range(1, kMax))->capture_default_str();
  app.add_option("--key-value-heads", s.key_value_heads, "divides --heads")
      ->check(CLI::Range(1, kMax))
      ->capture_default_str();
  app.add_option("--head-size", s.head_size, "")->check(CLI::Range(1, 256))->capture_default_str();
  app.add_option("--device", options.device, "")
      ->check(CLI::IsMember({"cuda", "cpu"}))
      ->capture_default_str();
  app.add_option("--iterations", options.iterations, "")->check(CLI::Range(1, kMax))->capture_default_str();
  app.add_option("--samples", options.samples, "")->check(CLI::Range(1, kMax))->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  if (s.heads % s.key_value_heads != 0) {
    std::cerr << "attention_time: --key-value-heads: found " << s.key_value_heads
              << ", which does not divide --heads " << s.heads << "\n";
    return 2;
  }
  const absl::StatusOr<std::unique_ptr<Backend>> backend = MakeBenchBackend(options.device);
  if (!backend.ok()) {
    std::cerr << "attention_time: " << backend.status().message() << "\n";
    return 1;
  }
  Run(options, **backend);
  return 0;
}

}  // namespace
}  // namespace ballast::bench

int main(int argc, char** argv) { return ballast::bench::Main(argc, argv); }
