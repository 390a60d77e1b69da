#include "tests/wire/random_values.h"

#include <algorithm>

#include "base/math.h"

namespace ballast {
namespace {

int64_t Small(Rng& rng) { return rng.Between(0, 300); }

// Any double but NaN, which is unequal to itself.
double AnyDouble(Rng& rng) {
  return (rng.Uniform() - 0.5) * std::pow(10.0, static_cast<double>(rng.Between(-300, 300)));
}

double Positive(Rng& rng, double high) { return high * (1.0 - rng.Uniform()); }

Stamp RandomStamp(Rng& rng) { return {Term(Small(rng)), JobId(RandomText(rng, 10)), Generation(Small(rng))}; }

std::vector<std::vector<int64_t>> RandomTable(Rng& rng) {
  std::vector<std::vector<int64_t>> table(rng.Below(4));
  for (auto& row : table) {
    row.resize(rng.Below(5));
    for (int64_t& value : row) value = rng.Between(0, INT64_MAX - 1);
  }
  return table;
}

StepLoad RandomLoad(Rng& rng) { return {Step(Small(rng)), RandomTable(rng)}; }

LayerPlan RandomLayer(Rng& rng) {
  LayerPlan layer;
  layer.slots.resize(rng.Below(4));
  for (auto& rank : layer.slots) {
    rank.resize(rng.Below(4));
    for (Slot& slot : rank) {
      if (rng.Chance(0.7)) slot = ExpertId(static_cast<int32_t>(Small(rng)));
    }
  }
  layer.split.kind = static_cast<SplitKind>(rng.Between(1, 3));
  layer.split.fractions.resize(rng.Below(3));
  for (auto& rank : layer.split.fractions) rank.assign(rng.Below(4), static_cast<uint32_t>(rng.Next()));
  layer.schedule = {RandomText(rng, 8), static_cast<int>(Small(rng)), RandomText(rng, 8), RandomText(rng, 8),
                    RandomText(rng, 8)};
  return layer;
}

}  // namespace

std::string RandomText(Rng& rng, size_t bytes_max) {
  static const char* const kPieces[] = {
      "a", "B", "7", " ", "\"", "\\", "\n", ":", "#", "\xc3\xa9", "\xf0\x9f\x98\x80"};
  std::string text;
  size_t bytes = rng.Below(bytes_max + 1);
  while (text.size() < bytes) text += kPieces[rng.Below(std::size(kPieces))];
  return text;
}

JobConfig RandomJob(Rng& rng) {
  JobConfig job;
  job.name = JobId("job-" + std::to_string(rng.Below(1000)));
  ModelConfig& model = job.model;
  model.vocabulary_size = static_cast<int>(rng.Between(2, 300));
  model.hidden_size = static_cast<int>(rng.Between(1, 32));
  model.layers = static_cast<int>(rng.Between(1, 3));
  model.key_value_heads = static_cast<int>(rng.Between(1, 3));
  model.attention_heads = model.key_value_heads * static_cast<int>(rng.Between(1, 3));
  model.head_size = 2 * static_cast<int>(rng.Between(1, 8));
  model.rope_theta = 1 + Positive(rng, 1e6);
  model.rms_norm_epsilon = Positive(rng, 1e-3);
  model.initializer_range = Positive(rng, 1);
  model.moe.experts = static_cast<int>(rng.Between(1, 9));
  model.moe.top_k = static_cast<int>(rng.Between(1, model.moe.experts));
  model.moe.intermediate_size = static_cast<int>(rng.Between(1, 40));
  model.moe.load_balance_coefficient = rng.Uniform();
  model.moe.z_loss_coefficient = rng.Uniform();

  int sources = static_cast<int>(rng.Between(1, 3));
  for (int i = 0; i < sources; ++i)
    job.data.sources.push_back({"s" + std::to_string(i), "/" + RandomText(rng, 12)});
  int64_t step = 1;
  for (uint64_t phases = rng.Below(4); job.data.mixture.size() <= phases;) {
    MixturePhase phase{Step(step), {}};
    for (int i = 0; i < sources; ++i) phase.weights.push_back(Positive(rng, 100));
    job.data.mixture.push_back(phase);
    step += rng.Between(1, 100);
  }
  job.data.sequence_length = static_cast<int>(rng.Between(1, 200));
  job.data.held_out_fraction = 0.01 + 0.9 * rng.Uniform();

  job.optimizer.learning_rate = Positive(rng, 1);
  job.optimizer.learning_rate_min = job.optimizer.learning_rate * rng.Uniform();
  job.optimizer.warmup_steps = Small(rng);
  job.optimizer.beta1 = rng.Uniform();
  job.optimizer.beta2 = rng.Uniform();
  job.optimizer.epsilon = Positive(rng, 1e-3);
  job.optimizer.weight_decay = rng.Uniform();
  job.optimizer.clip_norm = rng.Uniform();

  job.training.steps = rng.Between(1, 1000);
  job.training.global_batch_sequences = static_cast<int>(rng.Between(1, 64));
  job.training.microbatch_sequences = static_cast<int>(rng.Between(1, job.training.global_batch_sequences));
  job.training.seed = rng.Next();
  job.training.evaluate_every = rng.Between(0, job.training.steps);
  job.training.evaluation_sequences = static_cast<int>(rng.Between(1, 64));
  job.training.compute_dtype = rng.Chance(0.5) ? DType::kFloat32 : DType::kBFloat16;
  job.training.recompute = static_cast<Recompute>(rng.Below(3));

  job.placement.ranks = static_cast<int>(rng.Between(1, 6));
  job.placement.ranks_min = static_cast<int>(rng.Between(1, job.placement.ranks));
  job.recovery = {static_cast<int>(rng.Between(0, 100)), rng.Between(1, 100'000)};
  job.placement.slots_per_rank =
      static_cast<int>(rng.Between(CeilDiv(model.moe.experts, job.placement.ranks), model.moe.experts));
  job.placement.block_elements = rng.Between(64, 5000);
  job.placement.home_move_bytes_max = rng.Chance(0.5) ? 0 : int64_t{1} << 30;

  job.planner = {rng.Chance(0.5) ? "greedy" : "contiguous",
                 rng.Between(1, 50),
                 Small(rng),
                 rng.Uniform(),
                 Positive(rng, 1),
                 rng.Between(1, 100),
                 rng.Uniform()};
  job.schedule = {rng.Chance(0.5) ? "direct" : "two_level", static_cast<int>(rng.Between(1, 4)),
                  rng.Chance(0.5) ? "none" : "bf16", "none"};
  if (rng.Chance(0.7))
    job.checkpoint = {"/" + RandomText(rng, 12), Small(rng), 1 + static_cast<int>(Small(rng))};
  return job;
}

Plan RandomPlan(Rng& rng) {
  Plan plan;
  plan.stamp = {JobId(RandomText(rng, 10)), Generation(Small(rng)), PlanVersion(1 + Small(rng)),
                PlanVersion(Small(rng)), Step(Small(rng))};
  plan.body.homes.resize(rng.Below(6));
  for (Rank& home : plan.body.homes) home = Rank(static_cast<int32_t>(Small(rng)));
  plan.body.speeds.assign(rng.Below(4), static_cast<uint32_t>(rng.Next()));
  for (uint64_t layers = rng.Below(4); plan.body.layers.size() < layers;)
    plan.body.layers.push_back(RandomLayer(rng));
  plan.body.reason = RandomText(rng, 30);
  plan.body.predicted_step_seconds = AnyDouble(rng);
  return plan;
}

Member RandomMember(Rng& rng, int rank) {
  return {
      Rank(rank),         WorkerId(RandomText(rng, 8)), Incarnation(rng.Next()), static_cast<int>(Small(rng)),
      RandomText(rng, 8), RandomText(rng, 8),           RandomText(rng, 8),      RandomText(rng, 8),
      RandomText(rng, 8)};
}

namespace {

Rank RandomRank(Rng& rng) { return Rank(static_cast<int32_t>(Small(rng))); }

RankReport RandomRankReport(Rng& rng) {
  RankReport report{JobId(RandomText(rng, 8)), Generation(Small(rng)), RandomRank(rng), {}, Small(rng)};
  report.steps.resize(rng.Below(4));
  for (RankStep& step : report.steps) {
    step.step = Step(Small(rng));
    step.seconds = AnyDouble(rng);
    step.wait_seconds = AnyDouble(rng);
    step.assignments = Small(rng);
    step.bytes_sent = Small(rng);
    step.bytes_received = Small(rng);
    for (double& seconds : step.phase_seconds) seconds = AnyDouble(rng);
    step.links.resize(rng.Below(4));
    for (LinkUse& link : step.links) {
      link = {RandomRank(rng), Small(rng), Small(rng),    AnyDouble(rng),
              Small(rng),      Small(rng), AnyDouble(rng)};
    }
  }
  return report;
}

LinkReport RandomLinkReport(Rng& rng) {
  LinkReport report{JobId(RandomText(rng, 8)), Generation(Small(rng)), {}};
  report.links.resize(rng.Below(4));
  for (LinkProbe& link : report.links) {
    link = {RandomRank(rng), RandomRank(rng), AnyDouble(rng), AnyDouble(rng), RandomText(rng, 8)};
  }
  return report;
}

}  // namespace

WorkerMessage RandomWorkerMessage(Rng& rng, size_t kind) {
  const Stamp stamp = RandomStamp(rng);
  const Incarnation incarnation(rng.Next());
  const PlanVersion version(Small(rng));
  const PlanDigest digest(rng.Next());
  const Step step(Small(rng));
  const std::string text = RandomText(rng, 20);
  switch (kind) {
    case 0:
      return Hello{static_cast<int>(Small(rng)),
                   WorkerId(text),
                   incarnation,
                   RandomText(rng, 8),
                   {{"a", RandomText(rng, 8)}, {"b", ""}},
                   "cpu",
                   static_cast<int>(Small(rng)),
                   RandomText(rng, 8),
                   RandomText(rng, 8),
                   RandomText(rng, 8),
                   RandomText(rng, 8),
                   Term(Small(rng)),
                   JobId(text),
                   Generation(Small(rng)),
                   version,
                   PlanVersion(Small(rng)),
                   digest,
                   PlanVersion(Small(rng)),
                   step};
    case 1:
      return Staged{stamp, incarnation, version, digest};
    case 2:
      return Rejected{stamp, incarnation, version, digest, text, rng.Chance(0.5)};
    case 3:
      return Active{stamp, incarnation, version, step};
    case 4:
      return RendezvousPut{stamp, text, std::string("\0\xff bytes", 8)};
    case 5:
      return Started{stamp, incarnation};
    case 6:
      return StepReport{JobId(text),
                        Generation(Small(rng)),
                        step,
                        version,
                        AnyDouble(rng),
                        AnyDouble(rng),
                        AnyDouble(rng),
                        AnyDouble(rng),
                        AnyDouble(rng),
                        rng.Between(0, INT64_MAX - 1),
                        RandomLoad(rng),
                        RandomTable(rng)};
    case 7:
      return EvaluationReport{JobId(text), Generation(Small(rng)), step, RandomText(rng, 8), AnyDouble(rng)};
    case 8:
      return LostPeer{stamp, Rank(static_cast<int32_t>(Small(rng))), text};
    case 9:
      return JobFailure{stamp, step, text, rng.Chance(0.5)};
    case 10:
      return Finished{stamp, step, rng.Chance(0.5), rng.Chance(0.5)};
    case 11: {
      Frozen frozen{stamp, incarnation, step, version, PlanVersion(Small(rng)), Step(Small(rng)), {}};
      for (uint64_t n = rng.Below(4); frozen.ranks.size() < n;) {
        frozen.ranks.push_back({Rank(static_cast<int32_t>(Small(rng))), Step(Small(rng)),
                                PlanVersion(Small(rng)), rng.Chance(0.5)});
      }
      return frozen;
    }
    case 12:
      return Leaving{incarnation, text};
    case 13:
      return RandomRankReport(rng);
    case 14:
      return RandomLinkReport(rng);
    case 15: {
      TokenReport report{JobId(text), Generation(Small(rng)), RandomRank(rng), step, 0, {}};
      report.tokens = static_cast<int>(rng.Below(kSampledTokensMax + 1));
      for (uint64_t n = rng.Below(300); report.choices.size() < n;)
        report.choices.push_back(static_cast<uint16_t>(rng.Below(1 << 16)));
      return report;
    }
    case 16: {
      CheckpointWritten written{stamp, incarnation, step, version, RequestId(Small(rng)), {}};
      for (uint64_t n = rng.Below(3); written.files.size() < n;) {
        written.files.push_back({"file-" + std::to_string(Small(rng)), rng.Between(0, INT64_MAX - 1),
                                 std::string(64, static_cast<char>('a' + rng.Below(6)))});
      }
      return written;
    }
    case 17:
      return CheckpointFailed{stamp, incarnation, step, rng.Chance(0.5), text};
    default:
      return CheckpointPublished{stamp, incarnation, step};
  }
}

CoordinatorMessage RandomCoordinatorMessage(Rng& rng, size_t kind) {
  const Stamp stamp = RandomStamp(rng);
  const PlanVersion version(Small(rng));
  const PlanDigest digest(rng.Next());
  const std::string text = RandomText(rng, 20);
  switch (kind) {
    case 0:
      return Welcome{Term(Small(rng))};
    case 1:
      return Refused{text, rng.Chance(0.5)};
    case 2: {
      Assign assign;
      assign.stamp = stamp;
      assign.job = std::make_shared<const JobConfig>(RandomJob(rng));
      for (int r = 0, members = static_cast<int>(rng.Below(4)); r < members; ++r) {
        assign.members.push_back(RandomMember(rng, r));
      }
      assign.plan = std::make_shared<const Plan>(RandomPlan(rng));
      assign.start_step = Step(Small(rng));
      if (rng.Chance(0.5)) assign.checkpoint = CheckpointRef{RandomText(rng, 8), Step(Small(rng))};
      assign.retained = Generation(Small(rng));
      if (rng.Chance(0.5)) assign.sampling = {rng.Between(1, 1000), 1 + static_cast<int>(rng.Below(8)), 256};
      return assign;
    }
    case 3:
      return Stage{stamp, std::make_shared<const Plan>(RandomPlan(rng))};
    case 4:
      return Commit{stamp, version, digest, {}};
    case 5:
      return Withdraw{stamp, version, digest};
    case 6:
      return RendezvousValue{stamp, text, std::string("\0\x80", 2)};
    case 7:
      return StepRequest{stamp, RequestId(Small(rng)), static_cast<RequestKind>(rng.Below(4))};
    case 8:
      return Abort{stamp, text, Generation(Small(rng)), Step(Small(rng)), version, rng.Chance(0.5)};
    case 9:
      return PublishCheckpoint{stamp, Step(Small(rng)), text};
    default:
      return PruneCheckpoints{stamp, Generation(Small(rng)), {text, RandomText(rng, 8)}};
  }
}

}  // namespace ballast
