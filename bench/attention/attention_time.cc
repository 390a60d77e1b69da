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
#include <functional>
#include <iostream>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/rng.h"
#include "bench/layer_case/bench_backend.h"
#include "bench/layer_case/case_options.h"

namespace ballast::bench {
namespace {

struct Options {
  AttentionShape shape{.sequences = 8, .length = 1024, .heads = 16, .key_value_heads = 4, .head_size = 64};
  std::string device = "cuda";
  int iterations = 10;
  int samples = 7;
};

class Bench {
 public:
  Bench(const Options& options, Backend& backend)
      : options_(options), backend_(backend), stream_(backend.NewStream()) {}

  void Run() {
    const AttentionShape& s = options_.shape;
    const int64_t width = int64_t{s.heads} * s.head_size, shared = int64_t{s.key_value_heads} * s.head_size;
    const Matrix q = Random(width), k = Random(shared), v = Random(shared), out = Random(width),
                 out_gradient = Random(width), q_gradient = Random(width), k_gradient = Random(shared),
                 v_gradient = Random(shared);
    const Buffer saved = *backend_.Allocate(backend_.AttentionSavedBytes(s), "bench");
    const double forward = Time([&] { backend_.AttentionForward(*stream_, q, k, v, s, out, saved.data()); });
    const double backward = Time([&] {
      backend_.AttentionBackward(*stream_, q, k, v, out, s, saved.data(), out_gradient, q_gradient,
                                 k_gradient, v_gradient);
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

 private:
  double Time(const std::function<void()>& call) {
    std::vector<double> seconds;
    for (int sample = -1; sample < options_.samples; ++sample) {  // the first one is not counted
      BALLAST_CHECK_OK(backend_.Synchronize(*stream_));
      const double begin = NowSeconds();
      for (int i = 0; i < options_.iterations; ++i) call();
      BALLAST_CHECK_OK(backend_.Synchronize(*stream_));
      if (sample >= 0) seconds.push_back((NowSeconds() - begin) / options_.iterations);
    }
    return Median(seconds);
  }

  // Normal numbers, one row per token.
  Matrix Random(int64_t columns) {
    const int64_t rows = options_.shape.sequences * options_.shape.length;
    std::vector<uint16_t> values(static_cast<size_t>(rows * columns));
    for (uint16_t& value : values) {
      const auto number = static_cast<float>(rng_.Normal());
      uint32_t bits = 0;
      static_assert(sizeof(bits) == sizeof(number));
      std::copy_n(reinterpret_cast<const char*>(&number), sizeof(bits), reinterpret_cast<char*>(&bits));
      value = static_cast<uint16_t>(bits >> 16);
    }
    const size_t bytes = values.size() * sizeof(values[0]);
    buffers_.push_back(*backend_.Allocate(bytes, "bench"));
    backend_.Copy(*stream_, buffers_.back().data(), values.data(), bytes);
    BALLAST_CHECK_OK(backend_.Synchronize(*stream_));
    return {buffers_.back().data(), rows, columns};
  }

  const Options& options_;
  Backend& backend_;
  const std::unique_ptr<Stream> stream_;
  Rng rng_{1};
  std::vector<Buffer> buffers_;
};

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
  Bench(options, **backend).Run();
  return 0;
}

}  // namespace
}  // namespace ballast::bench

int main(int argc, char** argv) { return ballast::bench::Main(argc, argv); }
