// Forward and backward of one MoE layer, a rank per GPU: time, and results to be compared.
//
//   moe_layer_time --shape mixtral --tokens 8192 --routing balanced [--ranks 2] [--iterations 10] [--samples
//   7]
//             [--dump FOLDER] [--phases yes]
//
// Prints a JSON object per case: {"case", "ranks", "fwd_bwd_ms", ...}. Every number is the median over
// samples of the slowest rank; a sample is the mean of `iterations` passes between two synchronizations.
// --dump also runs one pass from zero gradients and writes, as raw float32, <FOLDER>/<name>.<rank>: out,
// x_gradient, router_gradient, and every so-many-th element of w1, w3 and w2's gradients of each expert.
// --phases yes also says where the time goes; the stream is then synchronized at every phase, which makes the
// whole slower. bench/moe_layer/compare.py runs it beside a baseline.
#include <algorithm>
#include <array>
#include <barrier>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <limits>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/check.h"
#include "base/device_error.h"
#include "bench/layer_case/case_options.h"
#include "bench/layer_case/layer_case.h"
#include "bench/moe_layer/inputs.h"
#include "plan/contiguous.h"
#include "tests/worker/comm/memory_store.h"
#include "worker/backend/plugin.h"
#include "worker/moe/moe_layer.h"

namespace ballast::bench {
namespace {

constexpr int64_t kSequenceLength = 2048;
constexpr int64_t kDumpedPerTensor = 1 << 16;  // of an expert's gradient
constexpr double kDeadlineSeconds = 120;

Time Deadline() {
  return std::chrono::time_point_cast<Duration>(std::chrono::steady_clock::now()) +
         ballast::Seconds(kDeadlineSeconds);
}

LayerPlan ContiguousLayer(const LayerCase& c, int ranks) {
  LayerPlan plan;
  plan.slots.resize(ranks);
  for (int e = 0; e < c.experts; ++e) {
    plan.slots[ContiguousRank(e, c.experts, ranks).index()].push_back(ExpertId(e));
  }
  return plan;
}

// Synchronizes at every phase, so that time belongs to the phase that spent it.
class SynchronizedPhases final : public PhaseTimer {
 public:
  SynchronizedPhases(Backend& backend, Stream& stream)
      : backend_(backend), stream_(stream), entered_(NowSeconds()) {}
  Phase Enter(Phase phase) override {
    BALLAST_CHECK_OK(backend_.Synchronize(stream_));
    const double now = NowSeconds();
    spent_[static_cast<size_t>(phase_)] += now - entered_;
    entered_ = now;
    return std::exchange(phase_, phase);
  }
  void On(Stream&) override {}
  std::array<double, kPhases> spent() const { return spent_; }

 private:
  Backend& backend_;
  Stream& stream_;
  double entered_;
  Phase phase_ = Phase::kOther;
  std::array<double, kPhases> spent_{};
};

// One rank's layer with its weights, gradients and activations.
class RankLayer {
 public:
  RankLayer(const CaseOptions& options, DevicePlugin& plugin, RendezvousStore& store, int rank)
      : options_(options), c_(options.layer), rank_(rank), topology_(Topology::OneNode(options.ranks)) {
    backend_ = *plugin.MakeBackend(rank, DType::kBFloat16, std::numeric_limits<size_t>::max());
    communicator_ = *plugin.Connect({.rank = Rank(rank),
                                     .size = options.ranks,
                                     .generation = Generation(1),
                                     .device = rank,
                                     .deadline = Deadline()},
                                    store);
    stream_ = backend_->NewStream();
    scratch_ = std::make_unique<MoeScratch>(*backend_);
    all_to_all_scratch_ = std::make_unique<AllToAllScratch>(*backend_);
    layer_ = std::make_unique<MoeLayer>(
        MoeConfig{
            .experts = c_.experts, .top_k = c_.top_k, .intermediate_size = static_cast<int>(c_.intermediate)},
        *backend_, *scratch_);
    plan_ = ContiguousLayer(c_, options.ranks);
    speeds_.assign(options.ranks, 1 << 16);
    x_ = Upload(MakeX(c_, rank), c_.tokens, c_.hidden);
    out_gradient_ = Upload(MakeOutGradient(c_, rank), c_.tokens, c_.hidden);
    router_ = Upload(MakeRouter(c_), c_.experts, c_.hidden);
    router_gradient_ = Zeroed(c_.experts, c_.hidden);
    out_ = Zeroed(c_.tokens, c_.hidden);
    x_gradient_ = Zeroed(c_.tokens, c_.hidden);
    for (const Slot& slot : plan_.slots[rank]) {
      const int expert = slot->value();
      ExpertTensors t;
      Values gate_up = MakeWeight(c_, Kind::kW1, expert);
      const Values up = MakeWeight(c_, Kind::kW3, expert);
      gate_up.insert(gate_up.end(), up.begin(), up.end());
      t.gate_up = Upload(gate_up, 2 * c_.intermediate, c_.hidden);
      t.w2 = Upload(MakeWeight(c_, Kind::kW2, expert), c_.hidden, c_.intermediate);
      t.gate_up_gradient = Zeroed(2 * c_.intermediate, c_.hidden);
      t.w2_gradient = Zeroed(c_.hidden, c_.intermediate);
      slots_.push_back(t);
    }
  }

  void Pass(PhaseTimer* phases = nullptr) {
    const MoeContext context{.backend = *backend_,
                             .stream = *stream_,
                             .communicator = *communicator_,
                             .topology = topology_,
                             .deadline = Deadline(),
                             .all_to_all_scratch = *all_to_all_scratch_,
                             .plan = plan_,
                             .speeds = speeds_,
                             .router = router_,
                             .router_gradient = router_gradient_,
                             .slots = slots_,
                             // A step of one microbatch, like the baseline's, whose gradients begin as none.
                             .first_gradients = true,
                             .sequences = std::max<int64_t>(1, c_.tokens / kSequenceLength),
                             .global_sequences = 0,
                             .phases = phases};
    absl::StatusOr<MoeResult> result = layer_->Forward(context, x_, out_);
    BALLAST_CHECK_OK(result.status());
    rank_tokens_ = result->rank_tokens;
    BALLAST_CHECK_OK(layer_->Backward(context, x_, out_gradient_, x_gradient_));
  }

  double TimedPasses(int iterations) {
    Finish();
    const double begin = NowSeconds();
    for (int i = 0; i < iterations; ++i) Pass();
    Finish();
    return (NowSeconds() - begin) / iterations;
  }

  std::array<double, kPhases> PhaseSeconds(int iterations) {
    SynchronizedPhases phases(*backend_, *stream_);
    for (int i = 0; i < iterations; ++i) Pass(&phases);
    phases.Enter(Phase::kOther);
    std::array<double, kPhases> spent = phases.spent();
    for (double& seconds : spent) seconds /= iterations;
    return spent;
  }

  void Dump() {
    Zero(x_gradient_), Zero(router_gradient_);
    Pass();
    Finish();
    Write("out", {out_}, 1);
    Write("x_gradient", {x_gradient_}, 1);
    Write("router_gradient", {router_gradient_}, 1);
    const int64_t step = std::max<int64_t>(1, c_.hidden * c_.intermediate / kDumpedPerTensor);
    std::vector<Matrix> w1, w3, w2;
    for (const ExpertTensors& t : slots_) {
      const Matrix both = t.gate_up_gradient;
      char* const data = static_cast<char*>(both.data);
      w1.push_back({data, c_.intermediate, c_.hidden});
      w3.push_back({data + both.elements() / 2 * sizeof(uint16_t), c_.intermediate, c_.hidden});
      w2.push_back(t.w2_gradient);
    }
    Write("w1_gradient", w1, step), Write("w3_gradient", w3, step), Write("w2_gradient", w2, step);
  }

  const std::vector<int64_t>& rank_tokens() const { return rank_tokens_; }
  size_t allocated_bytes() const { return backend_->allocated_bytes(); }

 private:
  void Finish() {
    BALLAST_CHECK_OK(communicator_->Drain(*stream_, Deadline()));
    BALLAST_CHECK_OK(backend_->Synchronize(*stream_));
  }
  Matrix Zeroed(int64_t rows, int64_t columns) {
    buffers_.push_back(*backend_->Allocate(rows * columns * sizeof(uint16_t), "bench"));
    return {buffers_.back().data(), rows, columns};
  }
  Matrix Upload(const Values& values, int64_t rows, int64_t columns) {
    Matrix m = Zeroed(rows, columns);
    backend_->Copy(*stream_, m.data, values.data(), values.size() * sizeof(uint16_t));
    BALLAST_CHECK_OK(backend_->Synchronize(*stream_));
    return m;
  }
  void Zero(const Matrix& m) { backend_->Zero(*stream_, m.data, m.elements() * sizeof(uint16_t)); }
  void Write(const std::string& name, const std::vector<Matrix>& matrices, int64_t step) {
    std::ofstream file(absl::StrCat(options_.others.at("--dump"), "/", name, ".", rank_), std::ios::binary);
    for (const Matrix& m : matrices) {
      Values bits(m.elements());
      backend_->Copy(*stream_, bits.data(), m.data, bits.size() * sizeof(uint16_t));
      BALLAST_CHECK_OK(backend_->Synchronize(*stream_));
      std::vector<float> values;
      for (int64_t i = 0; i < m.elements(); i += step) values.push_back(FromBits(bits[i]));
      file.write(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
    }
    BALLAST_CHECK(file.good()) << "cannot write " << name << " into " << options_.others.at("--dump");
  }

  const CaseOptions& options_;
  const LayerCase& c_;
  const int rank_;
  const Topology topology_;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Communicator> communicator_;
  std::unique_ptr<Stream> stream_;
  std::vector<Buffer> buffers_;
  std::unique_ptr<MoeScratch> scratch_;
  std::unique_ptr<AllToAllScratch> all_to_all_scratch_;
  std::unique_ptr<MoeLayer> layer_;
  LayerPlan plan_;
  std::vector<uint32_t> speeds_;
  Matrix x_, out_, x_gradient_, out_gradient_, router_, router_gradient_;
  std::vector<ExpertTensors> slots_;
  std::vector<int64_t> rank_tokens_;
};

void Run(const CaseOptions& options, DevicePlugin& plugin) {
  const bool phases_wanted = options.others.at("--phases") == "yes";
  const std::string& dump = options.others.at("--dump");
  MemoryStore store;
  std::vector<std::vector<double>> samples(options.ranks);
  std::vector<std::array<double, kPhases>> phases(options.ranks);
  std::vector<int64_t> rank_tokens;
  size_t bytes = 0;
  std::barrier together(options.ranks);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < options.ranks; ++rank) {
    threads.emplace_back([&, rank] {
      RankLayer layer(options, plugin, store, rank);
      for (int i = 0; i < 3; ++i) layer.Pass();
      for (int s = 0; s < options.samples; ++s) {
        together.arrive_and_wait();
        samples[rank].push_back(layer.TimedPasses(options.iterations));
      }
      if (phases_wanted) phases[rank] = layer.PhaseSeconds(options.iterations);
      if (!dump.empty()) layer.Dump();
      if (rank == 0) rank_tokens = layer.rank_tokens(), bytes = layer.allocated_bytes();
      together.arrive_and_wait();
    });
  }
  for (std::thread& thread : threads) thread.join();

  std::vector<double> slowest;
  for (int s = 0; s < options.samples; ++s) {
    double seconds = 0;
    for (const auto& rank : samples) seconds = std::max(seconds, rank[s]);
    slowest.push_back(seconds);
  }
  const double seconds = Median(slowest);
  std::cout << "{\"case\": \"" << options.layer.Name() << "\", \"ranks\": " << options.ranks
            << ", \"fwd_bwd_ms\": " << seconds * 1e3 << ", \"spread\": "
            << *std::max_element(slowest.begin(), slowest.end()) /
                   *std::min_element(slowest.begin(), slowest.end())
            << ", \"tflops_per_gpu\": " << options.layer.Flops(options.ranks) / options.ranks / seconds / 1e12
            << ", \"rank_tokens\": [" << absl::StrJoin(rank_tokens, ", ")
            << "], \"gib\": " << static_cast<double>(bytes) / (1 << 30);
  if (phases_wanted) {
    std::cout << ", \"phases_ms\": {";
    const char* comma = "";
    for (size_t p = 0; p < kPhases; ++p) {
      double most = 0;
      for (const auto& rank : phases) most = std::max(most, rank[p]);
      if (most == 0) continue;
      std::cout << comma << "\"" << ToString(static_cast<Phase>(p)) << "\": " << most * 1e3;
      comma = ", ";
    }
    std::cout << "}";
  }
  std::cout << "}" << std::endl;
}

int Main(int argc, char** argv) {
  const absl::StatusOr<CaseOptions> options =
      ParseCaseOptions(argc, argv, {{"--dump", {}}, {"--phases", {"no", "yes"}}});
  if (!options.ok()) {
    std::cerr << options.status().message() << "\n";
    return 2;
  }
  absl::StatusOr<DevicePlugin*> plugin = LoadCudaPlugin();
  if (!plugin.ok()) {
    std::cerr << plugin.status().message() << "\n";
    return 1;
  }
  const size_t devices = (*plugin)->Devices()->size();
  if (devices < static_cast<size_t>(options->ranks)) {
    std::cerr << "--ranks: found " << options->ranks << ", this machine has " << devices << " devices\n";
    return 2;
  }
  Run(*options, **plugin);
  return 0;
}

}  // namespace
}  // namespace ballast::bench

int main(int argc, char** argv) { return ballast::bench::Main(argc, argv); }
