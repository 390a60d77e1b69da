#include "bench/step/probed_steps.h"

#include <algorithm>
#include <cstdio>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/clock.h"
#include "tests/worker/comm/communicator_fixture.h"
#include "tests/worker/comm/memory_store.h"
#include "tests/worker/trainer/training_run.h"
#include "worker/comm/gloo_communicator.h"
#include "worker/probes/link_prober.h"

namespace ballast {
namespace {

constexpr int kTurnSteps = 10;
constexpr int kTurns = 60;  // every other one with probes
// The first steps of a turn are not counted: the prober begins to dial, or ends its last message.
constexpr int kTurnSkip = 2;
constexpr double kPeriodSeconds = 60;  // from one visit of a peer by a daemon to the next

// About 100 ms a step on one core for each rank.
JobConfig BenchJob() {
  JobConfig job = TinyJob();
  job.model.vocabulary_size = 257;
  job.model.hidden_size = 64;
  job.model.attention_heads = 4;
  job.model.key_value_heads = 2;
  job.model.head_size = 16;
  job.model.initializer_range = 0.02;
  job.model.moe.experts = 8;
  job.model.moe.intermediate_size = 64;
  job.data.sequence_length = 128;
  job.optimizer.learning_rate = 0.001;
  job.training.steps = kTurns * kTurnSteps;
  job.training.global_batch_sequences = 16;
  job.training.microbatch_sequences = 8;
  job.placement.slots_per_rank = 4;
  job.placement.block_elements = 1 << 16;
  return job;
}

// Both ends of one pair of nodes; only one of them asks, as daemons do it.
class Probes {
 public:
  Probes() : near_(Listen()), far_(Listen()) {}

  void Begin() {
    begin_ = SteadyClock().Now();
    near_->Begin({Rank(0), {{Rank(1), absl::StrCat("127.0.0.1:", far_->port())}}},
                 [this](std::vector<LinkProbe> links) {
                   for (const LinkProbe& link : links) BALLAST_CHECK(link.failure.empty()) << link.failure;
                   const Time now = SteadyClock().Now();
                   visit_seconds_.push_back(ToSeconds(now - begin_));
                   begin_ = now;
                 });
  }
  void Stop() { near_->Stop(); }
  // Of every visit that was ended; after Stop.
  const std::vector<double>& visit_seconds() const { return visit_seconds_; }

 private:
  static std::unique_ptr<LinkProber> Listen() {
    auto prober = LinkProber::Listen("127.0.0.1", {.period = Seconds(0), .pause = Seconds(0)});
    BALLAST_CHECK_OK(prober.status());
    return *std::move(prober);
  }

  // Written by the probing thread between Begin and Stop, read outside.
  Time begin_{};
  std::vector<double> visit_seconds_;
  std::unique_ptr<LinkProber> near_, far_;
};

double Quantile(std::vector<double> values, double q) {
  BALLAST_CHECK(!values.empty());
  std::sort(values.begin(), values.end());
  return values[static_cast<size_t>(q * static_cast<double>(values.size() - 1))];
}

}  // namespace

void PrintProbedSteps() {
  MemoryStore store;
  Probes probes;
  RunSpec spec;
  spec.job = BenchJob();
  spec.ranks = 2;
  spec.connect = [&](Rank self) {
    auto communicator = ConnectGloo({.rank = self,
                                     .size = 2,
                                     .generation = Generation(1),
                                     .data_address = "127.0.0.1",
                                     .deadline = After(60)},
                                    store);
    BALLAST_CHECK_OK(communicator.status());
    return *std::move(communicator);
  };
  const auto probed = [](Step step) { return (step.value() - 1) / kTurnSteps % 2 == 1; };
  spec.on_step_done = [&](ThreadCommunicatorGroup&, Rank rank, Step step) {
    if (rank != Rank(0) || step.value() % kTurnSteps != 0) return;
    if (probed(step)) {
      probes.Stop();
    } else {
      probes.Begin();
    }
  };
  const RunOutcome outcome = RunTraining(spec);
  probes.Stop();
  for (const TrainResult& result : outcome.results) BALLAST_CHECK_OK(result.status);

  std::vector<double> with, without;
  for (const RankStep& step : outcome.rank_steps.at(Rank(0))) {
    if ((step.step.value() - 1) % kTurnSteps < kTurnSkip) continue;
    (probed(step.step) ? with : without).push_back(step.seconds);
  }
  const auto print = [](const char* what, const std::vector<double>& seconds) {
    std::printf("%-72s p50 %7.2f ms, p10 %7.2f, p90 %7.2f; %d of them\n", what, 1e3 * Quantile(seconds, 0.5),
                1e3 * Quantile(seconds, 0.1), 1e3 * Quantile(seconds, 0.9), static_cast<int>(seconds.size()));
  };
  print("step without probes beside it", without);
  print("step with probes beside it, visit after visit", with);
  print("visit of one peer, 8 KiB to 8 MiB there and back", probes.visit_seconds());
  const double ratio = Quantile(with, 0.5) / Quantile(without, 0.5);
  const double share = Quantile(probes.visit_seconds(), 0.5) / kPeriodSeconds;
  std::printf(
      "ratio of the medians %.3f; with one visit a minute, which takes %.3f %% of the time: %.4f %%\n", ratio,
      100 * share, 100 * (ratio - 1) * share);
}

}  // namespace ballast
