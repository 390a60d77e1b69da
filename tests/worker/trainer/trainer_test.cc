#include "worker/trainer/trainer.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cmath>

#include "tests/worker/trainer/training_run.h"
#include "worker/comm/communicator_pair.h"
#include "worker/comm/lost_peer.h"
#include "worker/comm/thread_communicator.h"

namespace ballast {
namespace {

void ExpectAllOk(const RunOutcome& outcome, Step last) {
  for (const TrainResult& result : outcome.results) {
    EXPECT_TRUE(result.status.ok()) << result.status;
    EXPECT_EQ(result.last_step, last);
  }
}

TEST(Trainer, OneRankTrainsAndTheLossFalls) {
  RunSpec spec;
  spec.job = TinyJob();
  spec.job.placement.slots_per_rank = 5;
  spec.job.training.evaluation_sequences = 9;
  spec.job.training.evaluate_every = 25;
  RunOutcome outcome = RunTraining(spec);
  ExpectAllOk(outcome, Step(60));
  ASSERT_EQ(outcome.reports.size(), 60u);
  std::vector<double> losses = outcome.losses();
  std::cout << "loss " << losses.front() << " -> " << losses.back() << "\n";
  EXPECT_NEAR(losses.front(), std::log(17.0), 0.3);
  EXPECT_LT(losses.back(), 0.75 * losses.front());
  for (size_t i = 0; i < outcome.reports.size(); ++i) {
    const StepReport& report = outcome.reports[i];
    EXPECT_EQ(report.step, Step(static_cast<int64_t>(i) + 1));
    EXPECT_EQ(report.tokens, 7 * 12);
    EXPECT_GT(report.gradient_norm, 0);
    EXPECT_GE(report.load_balance_loss, 2 * 0.9) << "at least 1 per layer, but for sampling";
    EXPECT_GT(report.step_seconds, 0);
    for (int layer = 0; layer < 2; ++layer) {
      int64_t sum = 0;
      for (int64_t tokens : report.load.tokens[layer]) sum += tokens;
      EXPECT_EQ(sum, 7 * 12 * 2) << "every (token, k) is routed";
      EXPECT_EQ(report.rank_tokens[layer], (std::vector<int64_t>{7 * 12 * 2}));
    }
  }
  // Before the first step, every 25, after the last; two sources each.
  std::vector<int64_t> steps;
  for (const EvaluationReport& evaluation : outcome.evaluations) steps.push_back(evaluation.step.value());
  EXPECT_EQ(steps, (std::vector<int64_t>{0, 0, 25, 25, 50, 50, 60, 60}));
  EXPECT_EQ(outcome.evaluations[1].source, "odd");
  EXPECT_EQ(outcome.evaluations[1].job, spec.job.name);
  EXPECT_EQ(outcome.evaluations[1].generation, Generation(1));
  EXPECT_LT(outcome.evaluations[7].loss, 0.8 * outcome.evaluations[1].loss);
}

TEST(Trainer, AnyNumberOfRanksTrainsTheSameModel) {
  std::vector<double> one, evaluation_one;
  for (int ranks = 1; ranks <= 4; ++ranks) {
    RunSpec spec;
    spec.job = TinyJob();
    spec.job.training.steps = 60;
    spec.job.training.evaluation_sequences = 5;
    spec.job.placement.slots_per_rank = 5;
    spec.ranks = ranks;
    RunOutcome outcome = RunTraining(spec);
    ExpectAllOk(outcome, Step(60));
    std::vector<double> evaluations;
    for (const EvaluationReport& report : outcome.evaluations) evaluations.push_back(report.loss);
    if (ranks == 1) {
      one = outcome.losses();
      evaluation_one = evaluations;
      continue;
    }
    double difference = RelativeDifference(outcome.losses(), one);
    double evaluation_difference = RelativeDifference(evaluations, evaluation_one);
    std::cout << ranks << " ranks: relative difference " << difference << ", evaluation "
              << evaluation_difference << "\n";
    EXPECT_LE(difference, 1e-4);
    EXPECT_LE(evaluation_difference, 1e-4);
  }
}

TEST(Trainer, ARankWithoutDataTakesPart) {
  RunSpec spec;
  spec.job = TinyJob();
  spec.job.training.steps = 10;
  spec.job.training.global_batch_sequences = 3;
  spec.job.training.evaluation_sequences = 2;
  spec.job.placement.slots_per_rank = 5;
  RunOutcome one = RunTraining(spec);
  spec.ranks = 4;
  RunOutcome four = RunTraining(spec);
  ExpectAllOk(four, Step(10));
  EXPECT_LE(RelativeDifference(four.losses(), one.losses()), 1e-4);
}

TEST(Trainer, StopRequestIsCarriedOutTwoStepsLater) {
  RunSpec spec;
  spec.job = TinyJob();
  spec.job.training.evaluation_sequences = 2;
  spec.ranks = 3;
  spec.stop_after_report = Step(7);
  RunOutcome outcome = RunTraining(spec);
  // Made after table(7), so it rides in table(8) and is carried out after update(10).
  const Step last(10);
  for (const TrainResult& result : outcome.results) {
    EXPECT_TRUE(result.status.ok()) << result.status;
    EXPECT_TRUE(result.stopped);
    EXPECT_EQ(result.last_step, last);
  }
  EXPECT_EQ(outcome.reports.back().step, last);
  EXPECT_EQ(outcome.evaluations.back().step, last);
}

// Rank 0 is detached in steps 3 and 4, ranks 0 and 1 in 5 and 6, all in 7 and 8.
TEST(Trainer, TheLowestAttachedRankReports) {
  RunSpec spec;
  spec.job = TinyJob();
  spec.job.training.steps = 10;
  spec.job.training.evaluation_sequences = 2;
  spec.job.training.evaluate_every = 2;
  spec.ranks = 3;
  spec.attached = [](Rank rank, Step step) {
    if (step < Step(3) || step > Step(8)) return true;
    return step < Step(7) && rank.value() > (step < Step(5) ? 0 : 1);
  };
  RunOutcome outcome = RunTraining(spec);
  ExpectAllOk(outcome, Step(10));
  ASSERT_EQ(outcome.reports.size(), 10u) << "every step once";
  const std::vector<int> expected = {0, 0, 1, 1, 2, 2, 0, 0, 0, 0};
  for (size_t i = 0; i < expected.size(); ++i) {
    const int64_t step = static_cast<int64_t>(i) + 1;
    for (size_t j = 0; j < outcome.reports.size(); ++j) {
      if (outcome.reports[j].step != Step(step)) continue;
      EXPECT_EQ(outcome.reporters[j], Rank(expected[i])) << "step " << step;
    }
  }
  // The rank that reported a step reports its evaluation, of two sources; rank 0 that before the first.
  ASSERT_EQ(outcome.evaluations.size(), 12u);
  for (size_t j = 0; j < outcome.evaluations.size(); ++j) {
    const int64_t step = outcome.evaluations[j].step.value();
    const int reporter = step == 0 ? 0 : expected[static_cast<size_t>(step) - 1];
    EXPECT_EQ(outcome.evaluation_reporters[j], Rank(reporter)) << "step " << step;
  }
  // What is reported does not depend on who does.
  RunSpec attached = spec;
  attached.attached = nullptr;
  RunOutcome reference = RunTraining(attached);
  std::map<Step, StepReport> by_step;
  for (const StepReport& report : outcome.reports) by_step[report.step] = report;
  ASSERT_EQ(by_step.size(), 10u);
  for (const StepReport& report : reference.reports) {
    const StepReport& other = by_step[report.step];
    EXPECT_EQ(other.loss, report.loss);
    EXPECT_EQ(other.gradient_norm, report.gradient_norm);
    EXPECT_EQ(other.load.tokens, report.load.tokens);
    EXPECT_EQ(other.rank_tokens, report.rank_tokens);
  }
}

TEST(Trainer, CollectivesAreCounted) {
  RunSpec spec;
  spec.job = TinyJob();
  spec.ranks = 3;
  int64_t operations[2];
  for (int i = 0; i < 2; ++i) {
    spec.job.training.steps = 5 + i;
    operations[i] = RunTraining(spec).stats[0].operations;
  }
  // 7 sequences on 3 ranks in twos are 2 microbatches; 2 layers.
  const int64_t per_step = operations[1] - operations[0];
  const int64_t moe = 2 * 2 * 5;
  std::cout << per_step << " collectives per step, " << per_step - moe << " beside the MoE layers'\n";
  EXPECT_EQ(per_step, moe + 3);
  EXPECT_LE(per_step, 2 * 2 * 6 + 8);
}

// Dispatch, combine and their backwards send one message between two nodes each, however many ranks the nodes
// have; the other collectives send one per pair of ranks.
TEST(Trainer, WeightsTravelOnACommunicatorOfTheirOwnAndNoBitChanges) {
  RunSpec spec;
  spec.job = TinyJob();
  spec.job.training.steps = 5;
  spec.ranks = 3;
  const RunOutcome together = RunTraining(spec);
  ThreadCommunicatorGroup main(spec.ranks), refresh(spec.ranks);
  spec.connect = [&](Rank self) {
    return std::make_unique<CommunicatorPair>(main.Take(self), refresh.Take(self));
  };
  const RunOutcome apart = RunTraining(spec);
  EXPECT_EQ(apart.losses(), together.losses());
  for (int from = 0; from < spec.ranks; ++from) {
    EXPECT_EQ(apart.stats[from].operations, together.stats[from].operations);
    for (int to = 0; to < spec.ranks; ++to) {
      const int64_t rows = main.PairStats(Rank(from), Rank(to)).bytes_sent;
      const int64_t weights = refresh.PairStats(Rank(from), Rank(to)).bytes_sent;
      EXPECT_EQ(rows + weights, together.pairs[from][to].bytes_sent);
      if (from != to) {
        EXPECT_GT(weights, 0);
        EXPECT_GT(rows, 0);
      }
    }
  }
}

TEST(Trainer, TwoLevelSendsOneMessagePerPairOfNodesAndAllToAll) {
  RunSpec spec;
  spec.job = TinyJob();
  spec.ranks = 4;
  spec.node_of_rank = {0, 0, 0, 1};
  for (bool two_level : {false, true}) {
    spec.edit = [&](PlanBody& body) {
      for (LayerPlan& layer : body.layers) layer.schedule.all_to_all = two_level ? "two_level" : "direct";
      body.homes[0] = Rank(3);  // a dense block, so that gradients go both ways between the nodes
    };
    int64_t messages[2][2];  // [steps][direction]
    for (int i = 0; i < 2; ++i) {
      spec.job.training.steps = 4 + i;
      RunOutcome outcome = RunTraining(spec);
      messages[i][0] = messages[i][1] = 0;
      for (int rank = 0; rank < 3; ++rank) {
        messages[i][0] += outcome.pairs[rank][3].messages_sent;
        messages[i][1] += outcome.pairs[3][rank].messages_sent;
      }
    }
    // One microbatch of 2 layers: 4 all-to-alls and one gathering of counts in each; 3 collectives a step
    // beside.
    const int64_t rank_pairs = 3;
    const int64_t expected = 4 * 2 * (two_level ? 1 : rank_pairs) + (2 + 3) * rank_pairs;
    EXPECT_EQ(messages[1][0] - messages[0][0], expected) << (two_level ? "two_level" : "direct");
    EXPECT_EQ(messages[1][1] - messages[0][1], expected) << (two_level ? "two_level" : "direct");
  }
}

TEST(Trainer, NonFiniteLossStopsEveryRankWithStepAndLayer) {
  RunSpec spec;
  spec.job = TinyJob();
  spec.ranks = 3;
  spec.job.optimizer.learning_rate = 1e37;
  spec.job.optimizer.warmup_steps = 0;
  RunOutcome outcome = RunTraining(spec);
  for (const TrainResult& result : outcome.results) {
    EXPECT_EQ(result.status.code(), absl::StatusCode::kFailedPrecondition) << result.status;
    EXPECT_EQ(result.status, outcome.results[0].status);
    EXPECT_NE(result.status.message().find("step 2: layer 0, rank 0: an activation is not finite"),
              absl::string_view::npos)
        << result.status;
    EXPECT_EQ(result.last_step, Step(1));
  }
  EXPECT_EQ(outcome.reports.size(), 1u);
}

TEST(Trainer, NonFiniteExpertIsNamedByItsLayer) {
  RunSpec spec;
  spec.job = TinyJob();
  spec.ranks = 2;
  const ParameterLayout layout = LayoutOf(spec.job);
  const BlockId bad(layout.ExpertBlocks(LayerId(1), ExpertId(3)).first);
  spec.edit_master = [&](BlockId block, void* master) {
    if (block == bad) static_cast<float*>(master)[0] = NAN;
  };
  RunOutcome outcome = RunTraining(spec);
  for (const TrainResult& result : outcome.results) {
    EXPECT_EQ(result.status.code(), absl::StatusCode::kFailedPrecondition) << result.status;
    EXPECT_NE(result.status.message().find("step 1: layer 1"), absl::string_view::npos) << result.status;
    EXPECT_EQ(result.last_step, Step(0));
  }
  EXPECT_TRUE(outcome.reports.empty());

  spec.job.training.evaluation_sequences = 4;
  outcome = RunTraining(spec);
  for (const TrainResult& result : outcome.results) {
    EXPECT_EQ(result.status.code(), absl::StatusCode::kFailedPrecondition) << result.status;
    EXPECT_NE(result.status.message().find("evaluation after step 0"), absl::string_view::npos)
        << result.status;
  }
}

TEST(Trainer, LostPeerEndsEveryRankWithItsName) {
  RunSpec spec;
  spec.job = TinyJob();
  spec.ranks = 3;
  spec.on_step_done = [](ThreadCommunicatorGroup& group, Rank rank, Step step) {
    if (rank == Rank(2) && step == Step(4)) group.Kill(Rank(2));
  };
  RunOutcome outcome = RunTraining(spec);
  EXPECT_EQ(outcome.results[2].status.code(), absl::StatusCode::kAborted);
  int named = 0;
  for (int rank = 0; rank < 2; ++rank) {
    const absl::Status& status = outcome.results[rank].status;
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
    ASSERT_TRUE(LostPeerOf(status).has_value());
    named += LostPeerOf(status) == Rank(2);
    EXPECT_GE(outcome.results[rank].last_step, Step(3));
    EXPECT_LE(outcome.results[rank].last_step, Step(4));
  }
  // The other may have lost the one that lost rank 2.
  EXPECT_GE(named, 1);
}

TEST(Trainer, AFailureOfOneRankDoesNotLeaveTheOthersWaiting) {
  RunSpec spec;
  spec.job = TinyJob();
  spec.ranks = 3;
  spec.read_error = [](Rank rank, Step step) {
    if (rank == Rank(1) && step == Step(3)) return absl::DataLossError("the disk is gone");
    return absl::OkStatus();
  };
  RunOutcome outcome = RunTraining(spec);
  EXPECT_EQ(outcome.results[1].status, absl::DataLossError("the disk is gone"));
  EXPECT_EQ(outcome.results[1].last_step, Step(2));
  for (int rank : {0, 2}) {
    EXPECT_EQ(outcome.results[rank].status.code(), absl::StatusCode::kUnavailable)
        << outcome.results[rank].status;
  }
}

}  // namespace
}  // namespace ballast
