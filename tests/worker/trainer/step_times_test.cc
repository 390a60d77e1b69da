// Where the time of a step goes: by a clock that is told what time it is, and in real runs.
#include "worker/trainer/step_times.h"

#include <gtest/gtest.h>

#include <memory>
#include <numeric>
#include <utility>
#include <vector>

#include "tests/worker/trainer/training_run.h"

namespace ballast {
namespace {

class ToldClock final : public Clock {
 public:
  Time Now() const override { return now; }
  Time now{};
};

// Counters alone; nothing is sent.
class Counters final : public Communicator {
 public:
  explicit Counters(int size) : peers_(static_cast<size_t>(size)) {}
  Rank rank() const override { return Rank(0); }
  int size() const override { return static_cast<int>(peers_.size()); }
  std::unique_ptr<Pending> Exchange(Stream&, std::vector<SendOp>, std::vector<RecvOp>) override {
    return nullptr;
  }
  absl::Status Wait(Pending&, Time) override { return absl::OkStatus(); }
  void Abort(const std::string&) override {}
  CommStats stats() const override { return stats_; }
  const std::vector<PeerStats>& peers() const override { return peers_; }

  CommStats stats_;
  std::vector<PeerStats> peers_;
};

double Of(const RankStep& step, Phase phase) { return step.phase_seconds[static_cast<size_t>(phase)]; }

TEST(StepTimes, PhasesExcludeEachOtherAndScopesGiveBack) {
  ToldClock clock;
  Stream stream;
  Counters communicator(2);
  StepTimes times(clock, communicator, nullptr);
  clock.now += Seconds(100);  // between two steps
  times.Begin(stream);
  clock.now += Seconds(1);  // other
  {
    PhaseScope dense(&times, Phase::kDenseForward);
    clock.now += Seconds(2);
    {
      PhaseScope moe(&times, Phase::kRouter);
      clock.now += Seconds(4);
      moe.Next(Phase::kExperts);
      clock.now += Seconds(8);
    }
    clock.now += Seconds(16);  // dense again
  }
  clock.now += Seconds(32);  // other again
  times.Enter(Phase::kUpdate);
  clock.now += Seconds(64);
  const RankStep step = times.End(Step(7), 11);
  EXPECT_EQ(step.step, Step(7));
  EXPECT_EQ(step.assignments, 11);
  EXPECT_DOUBLE_EQ(step.seconds, 127);
  EXPECT_DOUBLE_EQ(Of(step, Phase::kOther), 33);
  EXPECT_DOUBLE_EQ(Of(step, Phase::kDenseForward), 18);
  EXPECT_DOUBLE_EQ(Of(step, Phase::kRouter), 4);
  EXPECT_DOUBLE_EQ(Of(step, Phase::kExperts), 8);
  EXPECT_DOUBLE_EQ(Of(step, Phase::kUpdate), 64);
  PhaseScope nothing(nullptr, Phase::kRouter);  // evaluation: nobody asks
  nothing.Next(Phase::kExperts);
}

// Marks whose times are told when they are set.
class ToldMarks final : public StreamMarks {
 public:
  explicit ToldMarks(const ToldClock& device) : device_(device) {}
  void Set(Stream& stream) override { marks_.push_back({&stream, device_.now}); }
  size_t count() const override { return marks_.size(); }
  double Seconds(size_t from, size_t to) const override {
    return ToSeconds(marks_[to].second - marks_[from].second);
  }
  void Clear() override { marks_.clear(); }
  const std::vector<std::pair<Stream*, Time>>& marks() const { return marks_; }

 private:
  const ToldClock& device_;
  std::vector<std::pair<Stream*, Time>> marks_;
};

TEST(StepTimes, WhereOperationsAreOnlyEnqueuedMarksInTheirStreamsTell) {
  ToldClock host, device;  // operations take no time of the host's, but for its wait at the end
  Stream optimizer, model;
  Counters communicator(2);
  auto owned = std::make_unique<ToldMarks>(device);
  const ToldMarks& marks = *owned;
  StepTimes times(host, communicator, std::move(owned));
  for (int64_t step = 1; step <= 2; ++step) {
    times.Begin(optimizer);
    device.now += Seconds(1);
    times.On(model);
    {
      PhaseScope dense(&times, Phase::kDenseForward);
      device.now += Seconds(2);
      PhaseScope experts(&times, Phase::kExperts);
      device.now += Seconds(4);
    }
    device.now += Seconds(8);  // other
    times.On(optimizer);
    times.Enter(Phase::kUpdate);
    device.now += Seconds(16);
    times.Enter(Phase::kOther);
    host.now += Seconds(100);  // until all has run, and 69 s more
    const RankStep done = times.End(Step(step), 0);
    EXPECT_DOUBLE_EQ(done.seconds, 100);
    EXPECT_DOUBLE_EQ(Of(done, Phase::kDenseForward), 2);
    EXPECT_DOUBLE_EQ(Of(done, Phase::kExperts), 4);
    EXPECT_DOUBLE_EQ(Of(done, Phase::kUpdate), 16);
    EXPECT_DOUBLE_EQ(Of(done, Phase::kOther), 78) << "they add up to the step";
    std::vector<Stream*> streams;
    for (const auto& [stream, time] : marks.marks()) streams.push_back(stream);
    EXPECT_EQ(streams,
              (std::vector<Stream*>{&optimizer, &model, &model, &model, &model, &optimizer, &optimizer}));
  }
}

TEST(StepTimes, LinksAreThoseOfTheStepAndBounded) {
  ToldClock clock;
  Stream stream;
  Counters communicator(200);
  communicator.peers_[3] = {1000, 1000, 5};
  StepTimes times(clock, communicator, nullptr);
  times.Begin(stream);
  communicator.stats_.wait_seconds += 0.25;
  communicator.peers_[3].bytes_sent += 10;
  communicator.peers_[9].bytes_received += 20;
  communicator.peers_[9].receive_seconds += 0.5;
  communicator.peers_[9].timed_messages += 2;
  communicator.peers_[9].timed_bytes += 15;
  communicator.peers_[9].timed_seconds += 0.25;
  RankStep step = times.End(Step(1), 0);
  EXPECT_EQ(step.links, (std::vector<LinkUse>{{Rank(3), 10, 0, 0}, {Rank(9), 0, 20, 0.5, 2, 15, 0.25}}));
  EXPECT_DOUBLE_EQ(step.wait_seconds, 0.25);

  times.Begin(stream);
  for (int peer = 0; peer < 200; ++peer) communicator.peers_[peer].bytes_sent += 1000 + peer;
  step = times.End(Step(2), 0);
  ASSERT_EQ(step.links.size(), kRankLinksMax);
  EXPECT_EQ(step.links.front().peer, Rank(200 - static_cast<int>(kRankLinksMax)));
  EXPECT_EQ(step.links.back().peer, Rank(199));
  EXPECT_EQ(step.bytes_sent, 200 * 1000 + 199 * 200 / 2) << "of all peers";
}

TEST(Trainer, EveryRankTellsOfEveryStep) {
  RunSpec spec;
  spec.job = TinyJob();
  spec.job.training.steps = 6;
  spec.job.training.evaluation_sequences = 3;
  spec.ranks = 3;
  const RunOutcome outcome = RunTraining(spec);
  const int layers = spec.job.model.layers;
  ASSERT_EQ(outcome.rank_steps.size(), 3u);
  for (int r = 0; r < 3; ++r) {
    const std::vector<RankStep>& steps = outcome.rank_steps.at(Rank(r));
    ASSERT_EQ(steps.size(), 6u);
    for (size_t s = 0; s < steps.size(); ++s) {
      const RankStep& step = steps[s];
      EXPECT_EQ(step.step, Step(static_cast<int64_t>(s) + 1));
      const double sum = std::accumulate(step.phase_seconds.begin(), step.phase_seconds.end(), 0.0);
      EXPECT_NEAR(sum, step.seconds, 1e-6) << "the phases add up to the step";
      EXPECT_LE(step.wait_seconds, step.seconds);
      for (Phase phase :
           {Phase::kData, Phase::kDenseForward, Phase::kRouter, Phase::kCounts, Phase::kDispatch,
            Phase::kExperts, Phase::kCombine, Phase::kDenseBackward, Phase::kDispatchBackward,
            Phase::kExpertsBackward, Phase::kCombineBackward, Phase::kRouterBackward, Phase::kReduce,
            Phase::kTable, Phase::kUpdate, Phase::kRefresh}) {
        EXPECT_GT(Of(step, phase), 0) << ToString(phase) << " of rank " << r;
      }
      // What one rank says it sent is what the other one says it received.
      for (const LinkUse& link : step.links) {
        EXPECT_NE(link.peer, Rank(r));
        EXPECT_GT(link.receive_seconds, 0);
        for (const LinkUse& back : outcome.rank_steps.at(link.peer)[s].links) {
          if (back.peer == Rank(r)) {
            EXPECT_EQ(back.bytes_received, link.bytes_sent);
          }
        }
      }
      EXPECT_EQ(step.links.size(), 2u);
      for (int layer = 0; layer < layers; ++layer) {
        EXPECT_EQ(outcome.layer_assignments.at(Rank(r))[s][layer], outcome.reports[s].rank_tokens[layer][r]);
      }
    }
  }
}

}  // namespace
}  // namespace ballast
