// Dispatch and combine of one layer's rows between ranks, by each all-to-all algorithm.
//
//   all_to_all_time --shape mixtral --tokens 8192 --routing balanced [--ranks 2] [--nodes 1|2|4]
//   [--iterations 10]
//                   [--samples 7] [--device cuda|cpu]
//
// A rank per GPU, or per thread on the CPU; every rank has the same counts (expert_rows.h) over contiguous
// experts. Prints a JSON object per algorithm:
//   {"case", "algorithm", "dispatch_ms", "combine_ms", "busiest_mb", "gbs"}
// Times are medians over samples of the slowest rank; a sample is the mean of `iterations` calls between two
// synchronizations. busiest_mb: what the busiest rank sends to or receives from others in one dispatch; gbs:
// that over its time. --nodes cuts the ranks into nodes for the algorithms; their links stay what they are.
// bench/all_to_all/compare.py runs it beside a baseline.
#include <algorithm>
#include <barrier>
#include <iostream>
#include <limits>
#include <thread>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "bench/layer_case/case_options.h"
#include "bench/layer_case/expert_rows.h"
#include "plan/contiguous.h"
#include "tests/worker/comm/memory_store.h"
#include "worker/backend/cpu/cpu_backend.h"
#include "worker/backend/plugin.h"
#include "worker/comm/thread_communicator.h"
#include "worker/schedule/all_to_all.h"

namespace ballast::bench {
namespace {

constexpr double kDeadlineSeconds = 120;
constexpr uint32_t kWholeSpeed = 1 << 16;

Time Deadline() { return SteadyClock().Now() + Seconds(kDeadlineSeconds); }

// What all ranks know of the case.
struct World {
  const CaseOptions& options;
  Topology topology;
  LayerPlan plan = {};
  CountMatrix counts = {};         // [source][expert]
  DevicePlugin* plugin = nullptr;  // null: on the CPU
  MemoryStore store = {};
  std::unique_ptr<ThreadCommunicatorGroup> threads = nullptr;
};

Route RouteOf(const World& world, const std::vector<char>& wanted) {
  const CaseOptions& options = world.options;
  const std::vector<uint32_t> speeds(static_cast<size_t>(options.ranks), kWholeSpeed);
  absl::StatusOr<Split> split =
      ComputeSplit(world.counts, world.plan, options.layer.experts, speeds, world.topology, wanted);
  BALLAST_CHECK_OK(split.status());
  return MakeRoute(*split, world.plan);
}

// Of one dispatch, to or from other ranks, whichever is more.
int64_t BusiestBytes(const World& world) {
  std::vector<int64_t> sent(static_cast<size_t>(world.options.ranks)), received = sent;
  for (const RouteSegment& segment : RouteOf(world, {}).segments) {
    if (segment.source == segment.host) continue;
    sent[segment.source.index()] += segment.rows;
    received[segment.host.index()] += segment.rows;
  }
  const int64_t rows = std::max(*std::max_element(sent.begin(), sent.end()),
                                *std::max_element(received.begin(), received.end()));
  return rows * world.options.layer.hidden * static_cast<int64_t>(DTypeBytes(DType::kBFloat16));
}

// One rank: its device, its way to the others, and rows to send.
class RankRows {
 public:
  RankRows(World& world, int rank) : world_(world), rank_(rank) {
    if (world.plugin == nullptr) {
      backend_ = *MakeCpuBackend(DType::kBFloat16);
      communicator_ = world.threads->Take(Rank(rank));
    } else {
      backend_ = *world.plugin->MakeBackend(rank, DType::kBFloat16, std::numeric_limits<size_t>::max());
      communicator_ = *world.plugin->Connect({.rank = Rank(rank),
                                              .size = world.options.ranks,
                                              .generation = Generation(1),
                                              .device = rank,
                                              .deadline = Deadline()},
                                             world.store);
    }
    stream_ = backend_->NewStream();
    scratch_ = std::make_unique<AllToAllScratch>(*backend_);
  }

  void Prepare(const AllToAll& algorithm) {
    route_ = RouteOf(world_, algorithm.Wanted(world_.topology, Rank(rank_)));
    buffers_.clear();
    source_ = Rows(route_.source_rows[rank_], world_.options.layer.hidden);
    host_ = Rows(route_.host_rows[rank_], world_.options.layer.hidden);
  }

  double Timed(const AllToAll& algorithm, Direction direction, int iterations) {
    const bool out = direction == Direction::kDispatch;
    const CompressorPtr none = *Compressors().Find("none");
    const AllToAllContext context{.communicator = *communicator_,
                                  .backend = *backend_,
                                  .stream = *stream_,
                                  .topology = world_.topology,
                                  .deadline = Deadline(),
                                  .scratch = *scratch_};
    Finish();
    const double begin = NowSeconds();
    for (int i = 0; i < iterations; ++i) {
      BALLAST_CHECK_OK(algorithm.Exchange(context, route_, direction, *none, out ? source_ : host_,
                                          out ? host_ : source_));
    }
    Finish();
    return (NowSeconds() - begin) / iterations;
  }

 private:
  void Finish() {
    BALLAST_CHECK_OK(communicator_->Drain(*stream_, Deadline()));
    BALLAST_CHECK_OK(backend_->Synchronize(*stream_));
  }
  Matrix Rows(int64_t rows, int64_t columns) {
    buffers_.push_back(
        *backend_->Allocate(static_cast<size_t>(rows * columns) * backend_->element_bytes(), "bench"));
    return {buffers_.back().data(), rows, columns};
  }

  World& world_;
  const int rank_;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Communicator> communicator_;
  std::unique_ptr<Stream> stream_;
  std::unique_ptr<AllToAllScratch> scratch_;
  std::vector<Buffer> buffers_;
  Route route_;
  Matrix source_, host_;
};

double MedianOfSlowest(const std::vector<std::vector<double>>& samples) {  // [rank][sample]
  std::vector<double> slowest = samples.front();
  for (const std::vector<double>& rank : samples) {
    for (size_t s = 0; s < slowest.size(); ++s) slowest[s] = std::max(slowest[s], rank[s]);
  }
  return Median(slowest);
}

void Run(World& world) {
  const CaseOptions& options = world.options;
  std::barrier together(options.ranks);
  const std::vector<std::string> names = {"direct", "rails", "two_level"};
  std::vector<std::vector<std::vector<double>>> dispatch(names.size()), combine(names.size());
  for (size_t a = 0; a < names.size(); ++a) {
    dispatch[a].resize(static_cast<size_t>(options.ranks));
    combine[a].resize(static_cast<size_t>(options.ranks));
  }
  std::vector<std::thread> threads;
  for (int rank = 0; rank < options.ranks; ++rank) {
    threads.emplace_back([&, rank] {
      RankRows rows(world, rank);
      for (size_t a = 0; a < names.size(); ++a) {
        const AllToAllPtr algorithm = *AllToAlls().Find(names[a]);
        rows.Prepare(*algorithm);
        for (int sample = -1; sample < options.samples; ++sample) {  // the first one is not counted
          together.arrive_and_wait();
          const double there = rows.Timed(*algorithm, Direction::kDispatch, options.iterations);
          const double back = rows.Timed(*algorithm, Direction::kCombine, options.iterations);
          if (sample < 0) continue;
          dispatch[a][rank].push_back(there);
          combine[a][rank].push_back(back);
        }
      }
      together.arrive_and_wait();
    });
  }
  for (std::thread& thread : threads) thread.join();
  const int64_t busiest = BusiestBytes(world);
  for (size_t a = 0; a < names.size(); ++a) {
    const double seconds = MedianOfSlowest(dispatch[a]);
    std::cout << "{\"case\": \"" << options.layer.Name() << "\", \"ranks\": " << options.ranks
              << ", \"algorithm\": \"" << names[a] << "\", \"dispatch_ms\": " << seconds * 1e3
              << ", \"combine_ms\": " << MedianOfSlowest(combine[a]) * 1e3
              << ", \"busiest_mb\": " << static_cast<double>(busiest) / 1e6
              << ", \"gbs\": " << static_cast<double>(busiest) / seconds / 1e9 << "}" << std::endl;
  }
}

absl::Status Start(const CaseOptions& options) {
  int nodes = 1;
  BALLAST_CHECK(absl::SimpleAtoi(options.others.at("--nodes"), &nodes));
  if (options.ranks % nodes != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("--nodes: found ", nodes, ", which does not divide ", options.ranks, " ranks"));
  }
  std::vector<std::string> names;
  for (int r = 0; r < options.ranks; ++r) names.push_back(absl::StrCat("node", r / (options.ranks / nodes)));
  World world{.options = options, .topology = Topology::FromNodeNames(names)};
  const LayerCase& c = options.layer;
  world.plan.slots.resize(static_cast<size_t>(options.ranks));
  for (int e = 0; e < c.experts; ++e) {
    world.plan.slots[ContiguousRank(e, c.experts, options.ranks).index()].push_back(ExpertId(e));
  }
  world.counts.assign(static_cast<size_t>(options.ranks), ExpertRows(c, c.tokens * c.top_k));
  if (options.others.at("--device") == "cpu") {
    world.threads = std::make_unique<ThreadCommunicatorGroup>(options.ranks);
  } else {
    BALLAST_ASSIGN_OR_RETURN(world.plugin, LoadCudaPlugin());
    const size_t devices = world.plugin->Devices()->size();
    if (devices < static_cast<size_t>(options.ranks)) {
      return absl::InvalidArgumentError(
          absl::StrCat("--ranks: found ", options.ranks, ", this machine has ", devices, " devices"));
    }
  }
  Run(world);
  return absl::OkStatus();
}

int Main(int argc, char** argv) {
  const absl::StatusOr<CaseOptions> options =
      ParseCaseOptions(argc, argv, {{"--device", {"cuda", "cpu"}}, {"--nodes", {"1", "2", "4"}}});
  const absl::Status done = options.ok() ? Start(*options) : options.status();
  if (done.ok()) return 0;
  std::cerr << "all_to_all_time: " << done.message() << "\n";
  return done.code() == absl::StatusCode::kInvalidArgument ? 2 : 1;
}

}  // namespace
}  // namespace ballast::bench

int main(int argc, char** argv) { return ballast::bench::Main(argc, argv); }
