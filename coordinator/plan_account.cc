#include "coordinator/plan_account.h"

#include <algorithm>
#include <numeric>

#include "coordinator/measured_gain.h"
#include "coordinator/planner/layer/bounds.h"
#include "coordinator/planner/layer/layer_task.h"
#include "plan/load.h"

namespace ballast {
namespace {

// The measured loads of one layer, summed over the newest looks' worth of steps.
LayerTask MeasuredTask(const JobEntry& job, const PlanBody& body, size_t layer, size_t samples) {
  const auto& measured = job.telemetry.history().samples();
  LayerTask task;
  task.load.assign(static_cast<size_t>(job.layout.experts()), 0);
  for (size_t i = measured.size() - samples; i < measured.size(); ++i) {
    for (size_t e = 0; e < task.load.size(); ++e) task.load[e] += measured[i].tokens[layer][e];
  }
  task.speeds = body.speeds;
  task.slots.assign(body.speeds.size(), job.limits.slots_per_rank);
  for (NodeId node : job.topology.node_of_rank) task.node_of_rank.push_back(node.value());
  return task;
}

}  // namespace

void Predict(const JobEntry& job, NewPlan& next) {
  const PlanBody& now = job.active().plan->body;
  const auto& measured = job.telemetry.history().samples();
  const size_t samples = std::min<size_t>(
      measured.size(), static_cast<size_t>(std::max<int64_t>(1, job.config().planner.plan_every_steps)));
  next.explanation.strategy = ToString(next.origin);
  next.explanation.step = job.record.step;
  next.explanation.accepted = true;
  next.explanation.verdict = next.body.reason;
  if (samples == 0) return;
  next.explanation.first_sample = measured[measured.size() - samples].step;
  next.explanation.last_sample = measured.back().step;
  const double layers = static_cast<double>(now.layers.size());
  const std::vector<uint32_t>& speeds = job.calibration.speeds();
  const double all_speeds = std::accumulate(speeds.begin(), speeds.end(), 0.0);
  double busiest = 0;  // rows of the busiest rank over its speed, a step, over all layers
  for (size_t l = 0; l < now.layers.size(); ++l) {
    const LayerTask task = MeasuredTask(job, next.body, l, samples);
    LayerExplanation layer;
    layer.load = task.load;
    if (task.total_load() > 0) layer.bound = SlotBound(task) / PerfectBound(task);
    layer.imbalance_before = layer.imbalance_after = 0;
    for (size_t i = measured.size() - samples; i < measured.size(); ++i) {
      const std::vector<int64_t>& tokens = measured[i].tokens[l];
      const double share = 1 / static_cast<double>(samples);
      layer.imbalance_before += share * LayerImbalance(tokens, now.layers[l], now.speeds, speeds);
      const double after = LayerImbalance(tokens, next.body.layers[l], next.body.speeds, speeds);
      layer.imbalance_after += share * after;
      const auto total = static_cast<double>(std::accumulate(tokens.begin(), tokens.end(), int64_t{0}));
      busiest += share * after * total * kHealthySpeed / all_speeds;
    }
    next.imbalance_before += layer.imbalance_before / layers;
    next.imbalance_after += layer.imbalance_after / layers;
    next.imbalance_bound += layer.bound / layers;
    next.explanation.layers.push_back(std::move(layer));
  }
  next.body.predicted_step_seconds = job.calibration.PredictStep(busiest).value_or(0);
}

int64_t SlotBytes(const JobEntry& job, int64_t slot_writes) {
  return slot_writes * job.layout.expert_elements() * static_cast<int64_t>(sizeof(float));
}

RecordWrite KeepExplanation(JobEntry& job, ExplanationRecord record) {
  const PlanVersion version = record.version;
  job.explanations[version] = record;
  if (job.explanations.size() > kExplanationsMax) job.explanations.erase(job.explanations.begin());
  return record;
}

MeasuredGain MeasureSoFar(const JobEntry& job, PlanVersion version) {
  const PlanRecord& plan = job.plans.at(version);
  auto base = job.plans.find(plan.plan->stamp.base_version);
  const bool comparable =
      base != job.plans.end() && base->second.plan->stamp.generation == plan.plan->stamp.generation;
  return MeasureGain(plan, comparable ? &base->second.plan->body : nullptr, job.config(),
                     job.telemetry.recent(), job.telemetry.steps());
}

void MeasureActive(Env& env, JobEntry& job) {
  auto record = job.explanations.find(job.record.active);
  if (record == job.explanations.end() || record->second.measured.complete) return;
  const Step since = job.plans.at(job.record.active).switch_step;
  if (since.value() == 0 || job.record.step.value() - since.value() + 1 < kMeasuredStepsMax) return;
  for (RecordWrite& write : CompleteMeasure(job)) env.Store({std::move(write)});
}

std::vector<RecordWrite> CompleteMeasure(JobEntry& job) {
  auto record = job.explanations.find(job.record.active);
  if (record == job.explanations.end() || record->second.measured.complete) return {};
  record->second.measured = MeasureSoFar(job, job.record.active);
  record->second.measured.complete = true;
  return {record->second};
}

}  // namespace ballast
