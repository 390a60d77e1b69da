// A run that is interrupted anywhere in a step goes on from what its ranks hold, and nothing shows of it: not
// a bit of the losses behind it, no step missing, none twice.
#include "coordinator/roll_forward.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "protocol/checkpoint.h"
#include "tests/base/temp_dir.h"
#include "tests/worker/checkpoint/independent_reader.h"
#include "tests/worker/trainer/moving_plans.h"
#include "tests/worker/trainer/training_run.h"

namespace ballast {
namespace {

constexpr int kRanks = 3;

// Leaves all collectives when it is about to wait for the `leave_at`-th time. What it sent before still
// arrives, so others may get through the step that it does not.
class Leaving final : public Communicator {
 public:
  Leaving(std::unique_ptr<Communicator> inner, int64_t leave_at, int64_t* waits)
      : inner_(std::move(inner)), leave_at_(leave_at), waits_(waits) {}
  Rank rank() const override { return inner_->rank(); }
  int size() const override { return inner_->size(); }
  std::unique_ptr<Pending> Exchange(Stream& stream, std::vector<SendOp> sends,
                                    std::vector<RecvOp> recvs) override {
    return inner_->Exchange(stream, std::move(sends), std::move(recvs));
  }
  absl::Status Wait(Pending& pending, Time deadline) override {
    if (++*waits_ == leave_at_) inner_->Abort("a connection was reset");
    return inner_->Wait(pending, deadline);
  }
  void Abort(const std::string& reason) override { inner_->Abort(reason); }
  CommStats stats() const override { return inner_->stats(); }
  const std::vector<PeerStats>& peers() const override { return inner_->peers(); }

 private:
  const std::unique_ptr<Communicator> inner_;
  const int64_t leave_at_;
  int64_t* const waits_;
};

struct Interrupted {
  RunOutcome outcome;
  int64_t waits = 0;  // of the rank that leaves
};

// `spec` until `leaver` leaves it; 0 = it does not.
Interrupted RunUntil(RunSpec spec, Rank leaver, int64_t leave_at) {
  Interrupted run;
  ThreadCommunicatorGroup group(spec.ranks);
  std::vector<int64_t> waits(spec.ranks, 0);
  spec.connect = [&](Rank rank) {
    return std::make_unique<Leaving>(group.Take(rank), rank == leaver ? leave_at : -1, &waits[rank.index()]);
  };
  run.outcome = RunTraining(spec);
  run.waits = waits[leaver.index()];
  return run;
}

// What the coordinator would make of it.
absl::StatusOr<RollForward> Decide(const RunSpec& spec, const RunOutcome& outcome, Generation retained = {}) {
  GenerationRecord generation;
  generation.start_step = spec.start_step;
  generation.plan = PlanVersion(1);
  generation.retained = retained;
  std::map<WorkerId, Frozen> frozen;
  for (int r = 0; r < spec.ranks; ++r) {
    const WorkerId name("w" + std::to_string(r));
    Member member;
    member.rank = Rank(r);
    member.worker = name;
    generation.members.push_back(member);
    const auto applied = outcome.applied.find(Rank(r));
    frozen[name].ranks.push_back(applied != outcome.applied.end()
                                     ? applied->second
                                     : Frozen::RankProgress{Rank(r), spec.start_step.Plus(-1), PlanVersion(1),
                                                            /*holds=*/true});
  }
  return DecideRollForward(generation, frozen, Step(0));
}

// The next generation of the same ranks.
RunSpec GoOn(const RunSpec& spec, const RunOutcome& outcome, const RollForward& forward,
             const std::vector<PlanPtr>& plans) {
  RunSpec next = spec;
  next.plans.clear();
  next.start_step = forward.step.Next();
  next.retained = outcome.retained;
  if (forward.plan > PlanVersion(1)) {
    next.edit = [plan = plans[static_cast<size_t>(forward.plan.value() - 2)]](PlanBody& body) {
      body = plan->body;
    };
  }
  return next;
}

struct Point {
  double loss = 0;
  double norm = 0;
  friend bool operator==(const Point&, const Point&) = default;
};

void Collect(const RunOutcome& outcome, std::map<Step, Point>& points) {
  for (const StepReport& report : outcome.reports) {
    const Point point{report.loss, report.gradient_norm};
    const auto [known, added] = points.try_emplace(report.step, point);
    EXPECT_EQ(known->second, point) << "step " << report.step.value()
                                    << " was reported twice, and differently";
  }
}

void ExpectAllOf(const std::map<Step, Point>& points, const std::map<Step, Point>& undisturbed, Step last) {
  for (Step step(1); step <= last; step = step.Next()) {
    const auto point = points.find(step);
    ASSERT_NE(point, points.end()) << "step " << step.value() << " is missing";
    EXPECT_EQ(point->second, undisturbed.at(step)) << "step " << step.value();
  }
}

RunSpec Spec() {
  RunSpec spec;
  spec.job = TinyJob();
  spec.ranks = kRanks;
  return spec;
}

class RollForwardOf : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Leaver, RollForwardOf, testing::Values(0, 2), testing::PrintToStringParamName());

TEST_P(RollForwardOf, AtEveryPointOfAStepNoBitIsLost) {
  const Rank leaver(GetParam());
  const RunSpec spec = Spec();
  const Interrupted whole = RunUntil(spec, Rank(1), 0);
  std::map<Step, Point> undisturbed;
  Collect(whole.outcome, undisturbed);
  ASSERT_EQ(undisturbed.size(), 60u);
  const int64_t per_step = whole.waits / 60;
  // Version 3 moves homes; the steps around its switch, at 8 or a little later, are cut everywhere.
  const PlanScript script = MakePlans(spec.job, kRanks, 2, /*replicate=*/false, /*seed=*/4);
  ASSERT_EQ(script.with_home_moves, 1);
  int cuts = 0, behind = 0, before_switch = 0, after_switch = 0;
  for (int64_t wait = 6 * per_step; wait <= 12 * per_step; ++wait) {
    SCOPED_TRACE(testing::Message() << "rank " << leaver.value() << " leaves at wait " << wait);
    RunSpec moving = spec;
    moving.plans = script.plans;
    const RunOutcome first = RunUntil(moving, leaver, wait).outcome;
    const absl::StatusOr<RollForward> forward = Decide(moving, first);
    ASSERT_TRUE(forward.ok()) << forward.status();
    ++cuts;
    for (const auto& [rank, applied] : first.applied) behind += applied.step < forward->step;
    const auto& active = first.active;
    if (active.count(PlanVersion(3)) > 0) {
      const Step from = active.at(PlanVersion(3)).begin()->second;
      before_switch += forward->step.Next() == from;
      after_switch += forward->step == from;
    }
    std::map<Step, Point> points;
    Collect(first, points);
    RunSpec next = GoOn(spec, first, *forward, script.plans);
    next.stop_after_report = forward->step.Plus(2);
    const RunOutcome rest = RunTraining(next);
    for (const TrainResult& result : rest.results) ASSERT_TRUE(result.status.ok()) << result.status;
    EXPECT_EQ(rest.reports.front().step, forward->step) << "told again: its report may not have been made";
    Collect(rest, points);
    ExpectAllOf(points, undisturbed, rest.results[0].last_step);
  }
  std::printf("%d cuts, %d ranks a step behind, %d right before and %d right behind the switch of homes\n",
              cuts, behind, before_switch, after_switch);
  EXPECT_GT(behind, 0);
  EXPECT_GT(before_switch, 0);
  EXPECT_GT(after_switch, 0);
}

// Interrupted again before its first step is done, and while it is being set up.
TEST(RollForward, TheNextGenerationMayEndTheSameWay) {
  const RunSpec spec = Spec();
  const Interrupted whole = RunUntil(spec, Rank(1), 0);
  std::map<Step, Point> undisturbed;
  Collect(whole.outcome, undisturbed);
  const int64_t per_step = whole.waits / 60;
  int again = 0;
  for (int64_t wait = 1; wait <= 2 * per_step; ++wait) {
    SCOPED_TRACE(testing::Message() << "rank 1 leaves the second run at wait " << wait);
    // Where one is behind: rank 1 leaves when it waits for the table.
    const RunOutcome first = RunUntil(spec, Rank(1), 5 * per_step - 1).outcome;
    const absl::StatusOr<RollForward> forward = Decide(spec, first);
    ASSERT_TRUE(forward.ok()) << forward.status();
    std::map<Step, Point> points;
    Collect(first, points);
    const RunSpec second = GoOn(spec, first, *forward, {});
    RunOutcome cut = RunUntil(second, Rank(1), wait).outcome;
    Collect(cut, points);
    // A rank that was not set up has what it had.
    for (int r = 0; r < kRanks; ++r) {
      if (cut.retained[r] == nullptr) cut.retained[r] = first.retained[r];
    }
    const absl::StatusOr<RollForward> once_more = Decide(second, cut, Generation(1));
    ASSERT_TRUE(once_more.ok()) << once_more.status();
    again += once_more->step == forward->step;
    RunSpec third = GoOn(second, cut, *once_more, {});
    third.stop_after_report = once_more->step.Plus(2);
    const RunOutcome rest = RunTraining(third);
    for (const TrainResult& result : rest.results) ASSERT_TRUE(result.status.ok()) << result.status;
    Collect(rest, points);
    ExpectAllOf(points, undisturbed, rest.results[0].last_step);
  }
  EXPECT_GT(again, 2) << "cut before the first step was done";
}

// Every tensor of the checkpoint after `step`, whoever wrote it.
std::map<std::string, std::vector<float>> Saved(const RunSpec& spec, const RunOutcome& outcome, Step step) {
  std::map<std::string, std::vector<float>> tensors;
  const auto ranks = outcome.checkpoints.find(step);
  if (ranks == outcome.checkpoints.end()) return tensors;
  EXPECT_EQ(ranks->second.size(), static_cast<size_t>(spec.ranks)) << "every rank has written its part";
  for (const auto& [rank, written] : ranks->second) {
    for (const CheckpointFile& file : written.files) {
      if (!file.name.ends_with(".safetensors")) continue;
      const std::string path = CheckpointFolder(spec.job.checkpoint.path, spec.job.name) + "/" +
                               CheckpointName(step, Generation(1)) + "/" + file.name;
      for (auto& [name, tensor] : ReadTensorFile(path))
        EXPECT_TRUE(tensors.emplace(name, std::move(tensor.values)).second) << name << " is written twice";
    }
  }
  return tensors;
}

// There is nothing more to train then; what is missing is an update of some ranks, a report, the evaluation
// or the last checkpoint.
TEST(RollForward, BehindTheJobsLastStep) {
  constexpr int64_t kSteps = 12;
  const Step last(kSteps);
  RunSpec spec = Spec();
  spec.job.training.steps = kSteps;
  spec.job.training.evaluation_sequences = 2;
  // Version 3 moves homes a few steps before the end.
  const PlanScript script = MakePlans(spec.job, kRanks, 2, /*replicate=*/false, /*seed=*/4);
  spec.plans = script.plans;
  TempDir undisturbed_dir;
  spec.job.checkpoint.path = undisturbed_dir.path();
  const Interrupted whole = RunUntil(spec, Rank(1), 0);
  ASSERT_EQ(whole.outcome.active.count(PlanVersion(3)), 1u) << "too late to say anything of moved homes";
  std::map<Step, Point> undisturbed;
  Collect(whole.outcome, undisturbed);
  const auto saved = Saved(spec, whole.outcome, last);
  ASSERT_FALSE(saved.empty());
  const double evaluated = whole.outcome.evaluations.back().loss;
  int rolled = 0, behind = 0, unsaved = 0, ended = 0;
  // From the last step's reduction to the first round of the farewell.
  for (const Rank leaver : {Rank(0), Rank(2)}) {
    for (int64_t wait = whole.waits * (kSteps - 1) / kSteps; wait < whole.waits; ++wait) {
      SCOPED_TRACE(testing::Message() << "rank " << leaver.value() << " leaves at wait " << wait);
      TempDir dir, next_dir;
      RunSpec cut = spec;
      cut.job.checkpoint.path = dir.path();
      const RunOutcome first = RunUntil(cut, leaver, wait).outcome;
      const bool some_ended = std::any_of(first.results.begin(), first.results.end(),
                                          [](const TrainResult& result) { return result.status.ok(); });
      if (some_ended) {
        // Then everybody's part is on disk; and it holds its state like the others, for jobs without
        // checkpoints.
        ++ended;
        EXPECT_EQ(Saved(cut, first, last), saved);
      }
      const absl::StatusOr<RollForward> forward = Decide(cut, first);
      ASSERT_TRUE(forward.ok()) << forward.status();
      if (forward->step < last) continue;
      ++rolled;
      for (const auto& [rank, applied] : first.applied) behind += applied.step < last;
      unsaved += first.checkpoints.count(last) == 0;
      std::map<Step, Point> points;
      Collect(first, points);
      RunSpec next = GoOn(cut, first, *forward, script.plans);
      next.job.checkpoint.path = next_dir.path();
      const RunOutcome rest = RunTraining(next);
      for (const TrainResult& result : rest.results) {
        ASSERT_TRUE(result.status.ok()) << result.status;
        EXPECT_EQ(result.last_step, last);
      }
      EXPECT_TRUE(rest.applied.empty()) << "a step was trained again";
      Collect(rest, points);
      ExpectAllOf(points, undisturbed, last);
      EXPECT_EQ(Saved(next, rest, last), saved);
      ASSERT_FALSE(rest.evaluations.empty());
      EXPECT_EQ(rest.evaluations.back().step, last);
      EXPECT_EQ(rest.evaluations.back().loss, evaluated);
    }
  }
  std::printf(
      "%d went on behind the last step, %d ranks without its update, %d runs without its checkpoint; "
      "in %d some rank had ended\n",
      rolled, behind, unsaved, ended);
  EXPECT_GT(behind, 0);
  EXPECT_GT(unsaved, 0);
  EXPECT_GT(ended, 0);
}

// A rank that goes on without its own update spoils the run: the comparison above can fail.
TEST(RollForward, WithoutItsOwnUpdateABlockIsAStepOld) {
  const RunSpec spec = Spec();
  const Interrupted whole = RunUntil(spec, Rank(1), 0);
  const int64_t per_step = whole.waits / 60;
  for (int64_t wait = 5 * per_step - 4; wait <= 5 * per_step + 4; ++wait) {
    RunOutcome first = RunUntil(spec, Rank(1), wait).outcome;
    const absl::StatusOr<RollForward> forward = Decide(spec, first);
    ASSERT_TRUE(forward.ok()) << forward.status();
    if (first.applied.at(Rank(1)).step == forward->step) continue;
    auto skipped = std::make_shared<RetainedRank>(*first.retained[1]);
    skipped->homes.applied = forward->step;
    first.retained[1] = skipped;
    RunSpec next = GoOn(spec, first, *forward, {});
    next.stop_after_report = forward->step.Plus(2);
    const RunOutcome rest = RunTraining(next);
    const double loss = rest.reports[1].loss;
    EXPECT_NE(loss, whole.outcome.reports[static_cast<size_t>(forward->step.value())].loss);
    return;
  }
  FAIL() << "no rank was a step behind";
}

TEST(RollForward, WhatIsMissingIsNamed) {
  const RunSpec spec = Spec();
  const RunOutcome first = RunUntil(spec, Rank(1), 60).outcome;
  const absl::StatusOr<RollForward> forward = Decide(spec, first);
  ASSERT_TRUE(forward.ok()) << forward.status();
  RunSpec next = GoOn(spec, first, {forward->step.Next(), forward->plan}, {});
  for (const TrainResult& result : RunTraining(next).results) {
    EXPECT_FALSE(result.status.ok());
    if (absl::IsFailedPrecondition(result.status)) {
      EXPECT_NE(result.status.ToString().find("needed to go on behind step"), std::string::npos)
          << result.status;
    }
  }
}

}  // namespace
}  // namespace ballast
