// Checkpoints of real training: they change no bit of it, hold what they say, and training goes on from them.
#include <gtest/gtest.h>

#include <atomic>
#include <fstream>
#include <thread>

#include "base/mutex.h"
#include "tests/worker/checkpoint/checkpoint_run.h"
#include "tests/worker/checkpoint/independent_reader.h"

namespace ballast {
namespace {

constexpr int kRanks = 3;

JobConfig JobIn(const TempDir& dir, int64_t steps, int64_t every) {
  JobConfig job = TinyJob();
  job.training.steps = steps;
  job.checkpoint.path = dir.path();
  job.checkpoint.every_steps = every;
  return job;
}

// Moves every expert, replicates one, and gives some blocks another home, from step 6 on.
PlanPtr SwitchedPlan(const JobConfig& job, const ParameterLayout& layout) {
  auto plan = std::make_shared<Plan>(*FirstPlan(job, layout, kRanks));
  plan->stamp.version = PlanVersion(2);
  plan->stamp.base_version = PlanVersion(1);
  plan->stamp.not_before_step = Step(6);
  for (LayerPlan& layer : plan->body.layers) {
    std::swap(layer.slots[0], layer.slots[2]);
    const Slot copied = layer.slots[2][0];
    layer.slots[1].resize(3);
    for (Slot& slot : layer.slots[1]) {
      if (slot.has_value()) continue;
      slot = copied;
      break;
    }
  }
  for (size_t b = 0; b < plan->body.homes.size(); b += 3)
    plan->body.homes[b] = Rank((plan->body.homes[b].value() + 1) % kRanks);
  return plan;
}

RunOutcome Trained(const RunSpec& spec) {
  RunOutcome outcome = RunTraining(spec);
  for (const TrainResult& result : outcome.results) EXPECT_TRUE(result.status.ok()) << result.status;
  return outcome;
}

std::vector<double> Tail(const std::vector<double>& values, int64_t from) {
  return {values.begin() + static_cast<std::ptrdiff_t>(from), values.end()};
}

// One training that is checkpointed after its last step, of every length around a switch at step 6: the model
// after refresh(t) is what the masters after update(t) say, whole tensors against blocks.
TEST(CheckpointTraining, HoldsTheStateOfItsStepAlsoAtASwitch) {
  for (int64_t last : {3, 4, 5, 6, 7}) {
    TempDir dir;
    RunSpec spec;
    spec.ranks = kRanks;
    spec.job = JobIn(dir, last, 0);
    const ParameterLayout layout = LayoutOf(spec.job);
    spec.plans = {SwitchedPlan(spec.job, layout)};
    const RunOutcome outcome = Trained(spec);
    if (last >= 6) {
      EXPECT_EQ(outcome.active.at(PlanVersion(2)).at(Rank(0)), Step(6));
    }
    const Step step(last);
    ASSERT_EQ(outcome.checkpoints.size(), 1u);
    const auto& ranks = outcome.checkpoints.at(step);
    ASSERT_EQ(ranks.size(), static_cast<size_t>(kRanks));
    const std::string directory = DirectoryOf(spec.job, step) + "/";
    std::map<std::string, ReadTensor> model, states;
    for (const auto& [rank, written] : ranks) {
      EXPECT_EQ(written.plan, PlanVersion(step >= Step(5) ? 2 : 1)) << "plan of the step after " << step;
      for (const CheckpointFile& file : written.files) {
        if (!file.name.ends_with(".safetensors")) continue;
        auto& into = file.name.starts_with("model-") ? model : states;
        for (auto& [name, tensor] : ReadTensorFile(directory + file.name)) {
          EXPECT_TRUE(into.emplace(name, std::move(tensor)).second) << name << " is written twice";
        }
      }
    }
    const auto index = ReadTextMap(directory + "model.safetensors.index.json", "weight_map");
    ASSERT_EQ(model.size(), layout.parameters().size());
    EXPECT_EQ(index.size(), model.size());
    EXPECT_EQ(states.size(), 3 * layout.blocks().size());
    for (const Parameter& parameter : layout.parameters()) {
      const ReadTensor& tensor = model.at(parameter.name);
      EXPECT_EQ(tensor.shape, parameter.shape) << parameter.name;
      EXPECT_EQ(ReadTensorFile(directory + index.at(parameter.name)).count(parameter.name), 1u);
      std::vector<float> masters;
      for (int b = 0; b < parameter.blocks; ++b) {
        const Block& block = layout.block(BlockId(parameter.first_block + b));
        const std::string prefix = parameter.name + "@" + std::to_string(block.offset);
        const std::vector<float>& part = states.at(prefix + ".master").values;
        masters.insert(masters.end(), part.begin(), part.end());
        EXPECT_EQ(states.at(prefix + ".moment1").values.size(), part.size());
        EXPECT_EQ(states.at(prefix + ".moment2").values.size(), part.size());
      }
      EXPECT_EQ(masters, tensor.values) << parameter.name << " after step " << step;
    }
  }
}

TEST(CheckpointTraining, ChangesNoBit) {
  TempDir dir;
  RunSpec spec;
  spec.ranks = kRanks;
  spec.job = JobIn(dir, 12, 1);
  spec.plans = {SwitchedPlan(spec.job, LayoutOf(spec.job))};
  const RunOutcome with = Trained(spec);
  RunSpec without = spec;
  without.job.checkpoint = {};
  const RunOutcome plain = Trained(without);
  EXPECT_EQ(with.losses(), plain.losses()) << "bit for bit";
  EXPECT_TRUE(plain.checkpoints.empty());
  EXPECT_EQ(with.checkpoints.size() + with.checkpoints_skipped.size(), 12u) << "taken or skipped, told each";
  EXPECT_TRUE(with.checkpoints_failed.empty());
}

TEST(CheckpointTraining, GoesOnBitForBitOnEquallyManyRanks) {
  TempDir dir;
  RunSpec spec;
  spec.ranks = kRanks;
  spec.job = JobIn(dir, 30, 10);
  spec.plans = {SwitchedPlan(spec.job, LayoutOf(spec.job))};
  const RunOutcome whole = Trained(spec);
  int resumed = 0;
  for (int64_t step : {10, 20}) {
    if (whole.checkpoints_skipped.count(Step(step)) > 0) continue;  // a very slow disk
    ++resumed;
    Publish(spec.job, whole, Step(step));
    RunSpec again;
    again.ranks = kRanks;
    again.job = spec.job;
    again.job.checkpoint = {};
    ASSERT_TRUE(LoadInto(again, spec.job, Step(step)).ok());
    // The plan that state.json has: the replicated expert's gradients are added up in its order.
    const auto layout = LayoutOf(spec.job);
    const auto state = CheckpointLoader::Open({.directory = DirectoryOf(spec.job, Step(step)),
                                               .step = Step(step),
                                               .model = spec.job.model,
                                               .master_bytes = sizeof(float),
                                               .self = Rank(0),
                                               .ranks = 1},
                                              layout)
                           .value()
                           ->state();
    EXPECT_EQ(state.plan_version, PlanVersion(2));
    EXPECT_EQ(state.plan.homes, spec.plans[0]->body.homes);
    EXPECT_EQ(state.plan.layers, spec.plans[0]->body.layers);
    EXPECT_EQ(state.seed, spec.job.training.seed);
    EXPECT_EQ(state.sequences_trained, step * 7);
    again.edit = [&](PlanBody& body) { body = state.plan; };
    EXPECT_EQ(Trained(again).losses(), Tail(whole.losses(), step)) << "from step " << step << " on";
  }
  EXPECT_GE(resumed, 1);
}

TEST(CheckpointTraining, GoesOnWithOtherRanksSlotsAndBlocks) {
  TempDir dir;
  RunSpec spec;
  spec.ranks = kRanks;
  spec.job = JobIn(dir, 30, 0);
  spec.checkpoint_after_report = Step(7);
  const RunOutcome whole = Trained(spec);
  const Step step(10);
  Publish(spec.job, whole, step);
  EXPECT_EQ(whole.checkpoints.at(step).at(Rank(1)).request, RequestId(1));
  const std::vector<double> wanted = Tail(whole.losses(), step.value());
  for (int ranks : {1, 2, 4}) {
    for (int64_t block_elements : {17, 1 << 20}) {
      RunSpec again;
      again.ranks = ranks;
      again.job = spec.job;
      again.job.checkpoint = {};
      again.job.placement.slots_per_rank = ranks == 4 ? 2 : 5;
      again.job.placement.block_elements = block_elements;
      ASSERT_TRUE(LoadInto(again, spec.job, step).ok());
      const double difference = RelativeDifference(Trained(again).losses(), wanted);
      std::cout << ranks << " ranks, blocks of " << block_elements << ": relative difference " << difference
                << "\n";
      EXPECT_LE(difference, 1e-4);
    }
  }
}

// The step threads only copy: while the writer is held, steps go on, what is due is skipped and told, and
// what was asked for waits for the writer.
TEST(CheckpointTraining, StepsGoOnWhileACheckpointIsBeingWritten) {
  TempDir dir;
  RunSpec spec;
  spec.ranks = 2;
  spec.job = JobIn(dir, 40, 5);
  Mutex mutex;
  CondVar changed;
  bool held = true;
  int holding = 0;
  spec.before_checkpoint = [&] {
    MutexLock lock(mutex);
    ++holding;
    changed.SignalAll();
    while (held) changed.Wait(mutex);
  };
  std::atomic<int64_t> passed_while_held{0};
  spec.on_step_done = [&](ThreadCommunicatorGroup&, Rank rank, Step step) {
    if (rank != Rank(0)) return;
    MutexLock lock(mutex);
    if (held && holding > 0) passed_while_held = step.value();
    if (step < Step(18)) return;
    held = false;
    changed.SignalAll();
  };
  spec.checkpoint_after_report = Step(11);
  const RunOutcome outcome = Trained(spec);
  EXPECT_GE(passed_while_held.load(), 17) << "the one of step 5 was held from then on";
  EXPECT_EQ(outcome.checkpoints.count(Step(5)), 1u) << "and was written when it was let go";
  EXPECT_EQ(outcome.checkpoints_skipped.count(Step(10)), 1u);
  EXPECT_EQ(outcome.checkpoints_skipped.count(Step(15)), 0u) << "the one that was asked for stands for it";
  EXPECT_EQ(outcome.checkpoints_skipped.at(Step(10)), "the checkpoint before is still being written");
  // Asked for after step 11, so for step 14; taken when no rank was busy any more.
  int asked = 0;
  for (const auto& [step, ranks] : outcome.checkpoints) {
    if (ranks.begin()->second.request != RequestId(1)) continue;
    ++asked;
    EXPECT_GE(step, Step(18));
    EXPECT_EQ(ranks.size(), 2u) << "every rank took the same one";
  }
  EXPECT_EQ(asked, 1);
  EXPECT_EQ(outcome.checkpoints.at(Step(40)).size(), 2u) << "the last step waits for the writer";
}

TEST(CheckpointTraining, AStopIsCheckpointed) {
  TempDir dir;
  RunSpec spec;
  spec.ranks = 2;
  spec.job = JobIn(dir, 40, 0);
  spec.stop_after_report = Step(7);
  const RunOutcome outcome = Trained(spec);
  EXPECT_EQ(outcome.results[0].last_step, Step(10));
  ASSERT_EQ(outcome.checkpoints.size(), 1u);
  EXPECT_EQ(outcome.checkpoints.at(Step(10)).size(), 2u);
}

TEST(CheckpointTraining, WhatCannotBeWrittenIsToldAndTrainingGoesOn) {
  TempDir dir;
  RunSpec spec;
  spec.ranks = 2;
  spec.job = JobIn(dir, 20, 6);
  // A file where the job's folder should be.
  std::ofstream(dir / "tiny") << "in the way";
  const RunOutcome outcome = Trained(spec);
  EXPECT_EQ(outcome.reports.size(), 20u);
  EXPECT_TRUE(outcome.checkpoints.empty());
  ASSERT_FALSE(outcome.checkpoints_failed.empty());
  const std::string cause = outcome.checkpoints_failed.begin()->second;
  EXPECT_NE(cause.find(dir / "tiny"), std::string::npos) << cause;
  EXPECT_NE(cause.find("Not a directory"), std::string::npos) << cause;
}

}  // namespace
}  // namespace ballast
