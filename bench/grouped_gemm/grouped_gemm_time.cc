// The products of a rank's experts over ragged groups of rows, beside one dense product of as many
// operations.
//
//   grouped_gemm_time --shape mixtral --tokens 8192 --routing balanced [--ranks 2] [--iterations 10]
//   [--samples 7]
//                     [--device cuda|cpu]
//
// The groups are those of rank 0 (bench/layer_case/expert_rows.h). Prints a JSON object per case:
//   {"case", "rows", "products": {"gate_up_forward": {"ms", "tflops", "dense_tflops"}, ...}}
// Times are medians over samples; a sample is the mean of `iterations` calls between two synchronizations.
// Grouped and dense take turns. bench/grouped_gemm/compare.py runs it beside a baseline.
#include <algorithm>
#include <functional>
#include <iostream>
#include <numeric>

#include "base/check.h"
#include "base/rng.h"
#include "bench/layer_case/bench_backend.h"
#include "bench/layer_case/case_options.h"
#include "bench/layer_case/expert_rows.h"

namespace ballast::bench {
namespace {

// A kind of product of an expert: with its `rows` rows, weights [out, in].
struct Product {
  const char* name;
  MatmulKind kind;
  int64_t out, in;
};

std::vector<Product> ProductsOf(const LayerCase& c) {
  using enum MatmulKind;
  const int64_t gate_up = 2 * c.intermediate;
  return {{"gate_up_forward", kNT, gate_up, c.hidden}, {"down_forward", kNT, c.hidden, c.intermediate},
          {"gate_up_dgrad", kNN, gate_up, c.hidden},   {"down_dgrad", kNN, c.hidden, c.intermediate},
          {"gate_up_wgrad", kTN, gate_up, c.hidden},   {"down_wgrad", kTN, c.hidden, c.intermediate}};
}

std::vector<int64_t> RowsOfRank0(const CaseOptions& options) {
  const LayerCase& c = options.layer;
  std::vector<int64_t> rows = ExpertRows(c, c.tokens * c.top_k * options.ranks);
  rows.resize(static_cast<size_t>(c.experts / options.ranks));
  return rows;
}

class Bench {
 public:
  Bench(const CaseOptions& options, Backend& backend)
      : options_(options), backend_(backend), stream_(backend.NewStream()), rows_(RowsOfRank0(options)) {}

  void Run() {
    const int64_t total = std::accumulate(rows_.begin(), rows_.end(), int64_t{0});
    std::cout << "{\"case\": \"" << options_.layer.Name() << "\", \"rows\": " << total << ", \"products\": {";
    const char* comma = "";
    for (const Product& product : ProductsOf(options_.layer)) {
      const auto [grouped, dense] = Time(product, total);
      const double operations =
          2.0 * static_cast<double>(total) * static_cast<double>(product.out * product.in);
      std::cout << comma << "\"" << product.name << "\": {\"ms\": " << grouped * 1e3
                << ", \"tflops\": " << operations / grouped / 1e12
                << ", \"dense_tflops\": " << operations / dense / 1e12 << "}";
      comma = ", ";
      buffers_.clear();
    }
    std::cout << "}}" << std::endl;
  }

 private:
  // Seconds of the grouped and of the dense product.
  std::pair<double, double> Time(const Product& product, int64_t total) {
    const auto experts = static_cast<int64_t>(rows_.size());
    // What lies at the products' sides of the rows, and the weights or their gradients.
    const Matrix outer = Random(total, product.out), inner = Random(total, product.in);
    const Matrix weights = Random(experts * product.out, product.in);
    std::vector<MatmulTask> tasks;
    int64_t first = 0;
    for (int64_t e = 0; e < experts; ++e) {
      const int64_t count = rows_[static_cast<size_t>(e)];
      if (count > 0) {
        tasks.push_back(TaskOf(product, Part(outer, first, count), Part(inner, first, count),
                               Part(weights, e * product.out, product.out)));
      }
      first += count;
    }
    const MatmulTask dense = TaskOf(product, outer, inner, Part(weights, 0, product.out));
    std::vector<double> grouped_seconds, dense_seconds;
    for (int sample = -1; sample < options_.samples; ++sample) {  // the first one is not counted
      const double grouped = Sample([&] { backend_.MatmulBatch(*stream_, tasks); });
      const double whole = Sample([&] { backend_.MatmulBatch(*stream_, std::span(&dense, 1)); });
      if (sample < 0) continue;
      grouped_seconds.push_back(grouped);
      dense_seconds.push_back(whole);
    }
    return {Median(grouped_seconds), Median(dense_seconds)};
  }

  static MatmulTask TaskOf(const Product& product, Matrix outer, Matrix inner, Matrix weights) {
    switch (product.kind) {
      case MatmulKind::kNT:
        return {product.kind, inner, weights, outer};
      case MatmulKind::kNN:
        return {product.kind, outer, weights, inner};
      case MatmulKind::kTN:
        return {product.kind, outer, inner, weights, /*accumulate=*/false};
    }
    BALLAST_CHECK(false);
    return {};
  }

  double Sample(const std::function<void()>& call) {
    BALLAST_CHECK_OK(backend_.Synchronize(*stream_));
    const double begin = NowSeconds();
    for (int i = 0; i < options_.iterations; ++i) call();
    BALLAST_CHECK_OK(backend_.Synchronize(*stream_));
    return (NowSeconds() - begin) / options_.iterations;
  }

  Matrix Part(Matrix all, int64_t first, int64_t count) const {
    return {
        static_cast<char*>(all.data) + static_cast<size_t>(first * all.columns) * backend_.element_bytes(),
        count, all.columns};
  }

  // Small random bfloat16 values: zeros would let the device run at a higher clock.
  Matrix Random(int64_t rows, int64_t columns) {
    constexpr int64_t kPeriod = 1 << 20;
    if (values_.empty()) {
      for (int64_t i = 0; i < kPeriod; ++i) {
        // Sign, and an exponent of 2^-8 to 2^-5.
        const uint64_t bits = rng_.Next();
        values_.push_back(
            static_cast<uint16_t>((bits & 0x8000) | ((119 + (bits >> 16 & 3)) << 7) | (bits >> 20 & 0x7f)));
      }
    }
    const auto bytes = static_cast<size_t>(rows * columns) * sizeof(uint16_t);
    buffers_.push_back(*backend_.Allocate(bytes, "bench"));
    char* data = static_cast<char*>(buffers_.back().data());
    const size_t period = values_.size() * sizeof(uint16_t);
    for (size_t at = 0; at < bytes; at += period) {
      backend_.Copy(*stream_, data + at, values_.data(), std::min(period, bytes - at));
    }
    BALLAST_CHECK_OK(backend_.Synchronize(*stream_));
    return {data, rows, columns};
  }

  const CaseOptions& options_;
  Backend& backend_;
  const std::unique_ptr<Stream> stream_;
  const std::vector<int64_t> rows_;
  Rng rng_{1};
  std::vector<uint16_t> values_;
  std::vector<Buffer> buffers_;
};

int Main(int argc, char** argv) {
  const absl::StatusOr<CaseOptions> options = ParseCaseOptions(argc, argv, {{"--device", {"cuda", "cpu"}}});
  if (!options.ok()) {
    std::cerr << "grouped_gemm_time: " << options.status().message() << "\n";
    return 2;
  }
  const absl::StatusOr<std::unique_ptr<Backend>> backend = MakeBenchBackend(options->others.at("--device"));
  if (!backend.ok()) {
    std::cerr << "grouped_gemm_time: " << backend.status().message() << "\n";
    return 1;
  }
  Bench(*options, **backend).Run();
  return 0;
}

}  // namespace
}  // namespace ballast::bench

int main(int argc, char** argv) { return ballast::bench::Main(argc, argv); }
