// Records of the store.
#include <algorithm>
#include <cmath>
#include <memory>

#include "tests/wire/random_values.h"

namespace ballast {
namespace {

int64_t Small(Rng& rng) { return rng.Between(0, 300); }

// Any double but NaN, which is unequal to itself.
double AnyDouble(Rng& rng) {
  return (rng.Uniform() - 0.5) * std::pow(10.0, static_cast<double>(rng.Between(-300, 300)));
}

}  // namespace

JobRecord RandomJobRecord(Rng& rng) {
  JobRecord record;
  record.config = std::make_shared<const JobConfig>(RandomJob(rng));
  record.state = static_cast<JobState>(rng.Between(1, 7));
  record.reason = RandomText(rng, 20);
  record.order = Small(rng);
  record.submitted_unix_ms = rng.Between(0, INT64_MAX - 1);
  record.generation = Generation(Small(rng));
  record.last_version = PlanVersion(Small(rng));
  record.active = PlanVersion(Small(rng));
  record.last_request = RequestId(Small(rng));
  record.last_request_kind = static_cast<RequestKind>(rng.Below(4));
  for (uint64_t n = rng.Below(5); record.wanted_homes.size() < n;) {
    record.wanted_homes.push_back(Rank(static_cast<int32_t>(Small(rng))));
  }
  record.plans_committed = Small(rng);
  record.slot_writes = Small(rng);
  record.step = Step(Small(rng));
  record.trained_seconds = AnyDouble(rng);
  record.trained_tokens = rng.Between(0, INT64_MAX - 1);
  for (uint64_t n = rng.Below(4); record.last_steps.size() < n;) {
    record.last_steps.push_back({Step(Small(rng)), PlanVersion(Small(rng)), AnyDouble(rng), AnyDouble(rng),
                                 AnyDouble(rng), AnyDouble(rng), AnyDouble(rng), AnyDouble(rng)});
  }
  for (uint64_t n = rng.Below(4); record.evaluations.size() < n;) {
    record.evaluations.push_back({Step(Small(rng)), RandomText(rng, 8), AnyDouble(rng)});
  }
  for (uint64_t n = rng.Below(4); record.recoveries.size() < n;) {
    record.recoveries.push_back(
        {rng.Between(0, INT64_MAX - 1), Generation(Small(rng)), Step(Small(rng)), RandomText(rng, 8)});
  }
  if (rng.Chance(0.5)) record.resume = CheckpointRef{RandomText(rng, 8), Step(Small(rng))};
  record.resume_generation = Generation(Small(rng));
  if (rng.Chance(0.5)) record.first_plan = std::make_shared<const PlanBody>(RandomPlan(rng).body);
  record.checkpoints_skipped = Small(rng);
  record.device = RandomText(rng, 8);
  record.request_reason = RandomText(rng, 30);
  return record;
}

PlanRecord RandomPlanRecord(Rng& rng) {
  PlanRecord record;
  record.plan = std::make_shared<const Plan>(RandomPlan(rng));
  record.digest = PlanDigest(rng.Next());
  record.state = static_cast<PlanState>(rng.Between(1, 5));
  record.origin = static_cast<PlanOrigin>(rng.Between(1, 6));
  record.outcome = RandomText(rng, 20);
  record.rejected = rng.Chance(0.5);
  record.switch_step = Step(Small(rng));
  record.slot_writes = Small(rng);
  record.home_moves = Small(rng);
  record.home_bytes = rng.Between(0, INT64_MAX - 1);
  record.imbalance_before = AnyDouble(rng);
  record.imbalance_after = AnyDouble(rng);
  record.proposed_unix_ms = rng.Between(0, INT64_MAX - 1);
  record.slot_bytes = rng.Between(0, INT64_MAX - 1);
  record.imbalance_bound = AnyDouble(rng);
  return record;
}

GenerationRecord RandomGenerationRecord(Rng& rng) {
  GenerationRecord record;
  record.job = JobId(RandomText(rng, 10));
  record.generation = Generation(1 + Small(rng));
  for (int r = 0, members = static_cast<int>(rng.Below(4)); r < members; ++r) {
    record.members.push_back(RandomMember(rng, r));
  }
  record.plan = PlanVersion(Small(rng));
  record.start_step = Step(Small(rng));
  record.ended = rng.Chance(0.5);
  record.reason = RandomText(rng, 20);
  if (rng.Chance(0.5)) record.checkpoint = CheckpointRef{RandomText(rng, 8), Step(Small(rng))};
  record.retained = Generation(Small(rng));
  return record;
}

CheckpointRecord RandomCheckpointRecord(Rng& rng) {
  CheckpointRecord record;
  record.job = JobId(RandomText(rng, 10));
  record.step = Step(Small(rng));
  record.generation = Generation(1 + Small(rng));
  record.plan = PlanVersion(Small(rng));
  record.directory = RandomText(rng, 20);
  record.state = static_cast<CheckpointState>(rng.Between(1, 3));
  record.bytes = rng.Between(0, INT64_MAX - 1);
  record.unix_ms = rng.Between(0, INT64_MAX - 1);
  record.request = RequestId(Small(rng));
  record.manifest = RandomText(rng, 20);
  return record;
}

JobEvent RandomJobEvent(Rng& rng) {
  JobEvent event;
  event.job = JobId(RandomText(rng, 10));
  event.number = 1 + Small(rng);
  event.unix_ms = rng.Between(0, INT64_MAX - 1);
  event.kind = static_cast<JobEvent::Kind>(rng.Between(1, 8));
  event.step = Step(Small(rng));
  event.version = PlanVersion(Small(rng));
  event.text = RandomText(rng, 40);
  return event;
}

ExplanationRecord RandomExplanationRecord(Rng& rng) {
  ExplanationRecord record;
  record.job = JobId(RandomText(rng, 10));
  record.version = PlanVersion(1 + Small(rng));
  Explanation& explanation = record.explanation;
  explanation.strategy = RandomText(rng, 10);
  explanation.step = Step(Small(rng));
  explanation.first_sample = Step(Small(rng));
  explanation.last_sample = Step(Small(rng));
  explanation.accepted = rng.Chance(0.5);
  explanation.verdict = RandomText(rng, 30);
  explanation.prices = RandomText(rng, 30);
  explanation.evaluations = Small(rng);
  explanation.evaluations_max = Small(rng);
  for (uint64_t layers = rng.Below(4); explanation.layers.size() < layers;) {
    LayerExplanation& layer = explanation.layers.emplace_back();
    for (uint64_t experts = rng.Below(5); layer.load.size() < experts;) layer.load.push_back(Small(rng));
    layer.bound = AnyDouble(rng);
    layer.imbalance_before = AnyDouble(rng);
    layer.imbalance_after = AnyDouble(rng);
    layer.why = RandomText(rng, 20);
    for (uint64_t candidates = rng.Below(4); layer.candidates.size() < candidates;) {
      layer.candidates.push_back({RandomText(rng, 12), AnyDouble(rng), AnyDouble(rng), Small(rng),
                                  rng.Chance(0.5), AnyDouble(rng), AnyDouble(rng), AnyDouble(rng),
                                  AnyDouble(rng)});
    }
  }
  MeasuredGain& gain = record.measured;
  gain.from = Step(Small(rng));
  gain.to = Step(Small(rng));
  gain.steps = Small(rng);
  gain.imbalance = AnyDouble(rng);
  gain.imbalance_without = AnyDouble(rng);
  gain.step_seconds = AnyDouble(rng);
  gain.step_seconds_before = AnyDouble(rng);
  gain.switch_seconds = AnyDouble(rng);
  gain.complete = rng.Chance(0.5);
  return record;
}

}  // namespace ballast
