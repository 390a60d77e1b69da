// What ranks tell of their tokens is what their routers chose, and where nobody asks nothing is copied.
#include "worker/trainer/token_sampler.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <vector>

#include "tests/worker/backend/forwarding_backend.h"
#include "tests/worker/trainer/training_run.h"
#include "worker/backend/cpu/cpu_backend.h"

namespace ballast {
namespace {

// What one rank's routers chose, told at each backward: [microbatch of the run][layer from the last to the
// first][token * k].
using Choices = std::vector<std::vector<int32_t>>;

class Watching final : public ForwardingBackend {
 public:
  Watching(std::unique_ptr<Backend> to, Choices& choices, std::atomic<int64_t>& copies)
      : ForwardingBackend(*to), to_(std::move(to)), choices_(choices), copies_(copies) {}

  void Copy(Stream& stream, void* to, const void* from, size_t bytes) override {
    ++copies_;
    ForwardingBackend::Copy(stream, to, from, bytes);
  }
  void RouterBackward(Stream& stream, Matrix probabilities, const int32_t* experts, Matrix weights,
                      Matrix weights_gradient, Matrix probabilities_gradient, const double* log_sum_exp,
                      double z_scale, Matrix logits_gradient) override {
    choices_.emplace_back(experts, experts + weights.elements());
    ForwardingBackend::RouterBackward(stream, probabilities, experts, weights, weights_gradient,
                                      probabilities_gradient, log_sum_exp, z_scale, logits_gradient);
  }

 private:
  const std::unique_ptr<Backend> to_;
  Choices& choices_;
  std::atomic<int64_t>& copies_;
};

struct Watched {
  RunOutcome outcome;
  std::vector<Choices> choices;  // [rank]
  int64_t copies = 0;
};

Watched Train(int ranks, const TokenSampling& sampling, Recompute recompute = Recompute::kNone) {
  Watched watched;
  watched.choices.resize(static_cast<size_t>(ranks));
  std::atomic<int64_t> copies{0};
  RunSpec spec;
  spec.job = TinyJob();
  spec.job.training.steps = 12;
  spec.job.training.recompute = recompute;
  spec.ranks = ranks;
  spec.job.placement.ranks = ranks;
  spec.job.placement.slots_per_rank = 5;
  spec.sampling = sampling;
  spec.make_backend = [&](Rank rank) {
    return std::make_unique<Watching>(MakeCpuBackend(DType::kFloat32).value(), watched.choices[rank.index()],
                                      copies);
  };
  watched.outcome = RunTraining(spec);
  for (const TrainResult& result : watched.outcome.results) EXPECT_TRUE(result.status.ok()) << result.status;
  watched.copies = copies;
  return watched;
}

// Deals the turns as the rule says, and looks each one up in what the routers chose.
void ExpectWhatRoutersChose(const Watched& watched, int ranks, const TokenSampling& sampling) {
  const JobConfig job = TinyJob();
  const MicrobatchPlan batch =
      PlanMicrobatches(job.training.global_batch_sequences, ranks, job.training.microbatch_sequences);
  const int layers = job.model.layers, k = job.model.moe.top_k;
  const int64_t length = job.data.sequence_length;
  std::vector<int64_t> told(static_cast<size_t>(ranks), 0);
  size_t reports = 0;
  int next = 0;
  for (int64_t step = sampling.every; step <= 12; step += sampling.every) {
    for (int i = 0; i < sampling.sequences; ++i, next = (next + 1) % ranks) {
      SCOPED_TRACE(testing::Message() << "step " << step << ", rank " << next);
      const auto rank = static_cast<size_t>(next);
      int64_t place = told[rank]++ % batch.sequences[rank];  // among the rank's
      int64_t microbatch = 0;
      while (place >= batch.runs[rank][static_cast<size_t>(microbatch)].count)
        place -= batch.runs[rank][static_cast<size_t>(microbatch++)].count;
      ASSERT_TRUE(watched.outcome.tokens.count(Step(step)));
      const auto& of_step = watched.outcome.tokens.at(Step(step));
      ASSERT_TRUE(of_step.count(Rank(next)));
      const TokenReport& report = of_step.at(Rank(next));
      ++reports;
      EXPECT_TRUE(CheckTokenReport(report, sampling, ranks, layers, k, job.model.moe.experts).ok());
      EXPECT_EQ(report.job, job.name);
      EXPECT_EQ(report.generation, Generation(1));
      std::vector<uint16_t> expected;
      for (int l = 0; l < layers; ++l) {
        const int64_t call = ((step - 1) * batch.microbatches + microbatch) * layers + layers - 1 - l;
        const std::vector<int32_t>& chosen = watched.choices[rank].at(static_cast<size_t>(call));
        const auto begin = chosen.begin() + place * length * k;
        expected.insert(expected.end(), begin, begin + sampling.tokens * k);
      }
      EXPECT_EQ(report.choices, expected);
    }
  }
  size_t all = 0;
  for (const auto& [step, of_step] : watched.outcome.tokens) all += of_step.size();
  EXPECT_EQ(all, reports) << "nothing else is told";
}

TEST(TokenSampler, TellsWhatTheRoutersChose) {
  for (const TokenSampling& sampling : {TokenSampling{1, 3, 12}, TokenSampling{2, 2, 5}}) {
    ExpectWhatRoutersChose(Train(3, sampling), 3, sampling);
  }
  ExpectWhatRoutersChose(Train(1, {1, 1, 12}), 1, {1, 1, 12});
}

TEST(TokenSampler, RecomputedLayersTellTheSame) {
  const TokenSampling sampling{1, 2, 7};
  const Watched kept = Train(2, sampling), again = Train(2, sampling, Recompute::kFull);
  ASSERT_EQ(kept.outcome.tokens.size(), 12u);
  for (const auto& [step, of_step] : kept.outcome.tokens) {
    for (const auto& [rank, report] : of_step)
      EXPECT_EQ(report.choices, again.outcome.tokens.at(step).at(rank).choices) << step.value();
  }
}

TEST(TokenSampler, WhereNobodyAsksNothingIsCopiedOrTold) {
  const TokenSampling sampling{3, 1, 12};
  const Watched off = Train(2, {}), on = Train(2, sampling);
  EXPECT_TRUE(off.outcome.tokens.empty());
  EXPECT_EQ(on.outcome.tokens.size(), 4u);
  // One small copy in each of two layers, in each of four steps.
  EXPECT_EQ(on.copies - off.copies, 4 * 2);
  EXPECT_EQ(on.outcome.losses(), off.outcome.losses()) << "and no bit changes";
}

TEST(TokenSampler, ARankWithoutDataTellsNothing) {
  const MicrobatchPlan batch = PlanMicrobatches(2, 3, 1);
  TokenSampler sampler({1, 3, 4}, Rank(0), batch, 4);
  for (const SequenceRun& run : batch.runs[0]) EXPECT_EQ(sampler.TapOf(Step(1), run), nullptr);
  EXPECT_FALSE(sampler.Take(Step(1)).has_value());
}

}  // namespace
}  // namespace ballast
