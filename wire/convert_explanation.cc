#include "wire/convert_explanation.h"

#include "wire/convert_ids.h"

namespace ballast {

v1::PlanExplanation ToProto(const Explanation& explanation) {
  v1::PlanExplanation out;
  out.set_strategy(explanation.strategy);
  out.set_step(explanation.step.value());
  out.set_first_sample(explanation.first_sample.value());
  out.set_last_sample(explanation.last_sample.value());
  out.set_accepted(explanation.accepted);
  out.set_verdict(explanation.verdict);
  out.set_prices(explanation.prices);
  out.set_evaluations(explanation.evaluations);
  out.set_evaluations_max(explanation.evaluations_max);
  for (const LayerExplanation& layer : explanation.layers) {
    v1::PlanExplanation::Layer* to = out.add_layers();
    to->mutable_load()->Add(layer.load.begin(), layer.load.end());
    to->set_bound(layer.bound);
    to->set_imbalance_before(layer.imbalance_before);
    to->set_imbalance_after(layer.imbalance_after);
    to->set_why(layer.why);
    for (const LayerCandidate& candidate : layer.candidates) {
      v1::PlanExplanation::Candidate* one = to->add_candidates();
      one->set_name(candidate.name);
      one->set_imbalance(candidate.imbalance);
      one->set_cost(candidate.cost);
      one->set_slot_writes(candidate.slot_writes);
      one->set_chosen(candidate.chosen);
      one->set_load_cost(candidate.load_cost);
      one->set_sync_cost(candidate.sync_cost);
      one->set_port_cost(candidate.port_cost);
      one->set_moves_cost(candidate.moves_cost);
    }
  }
  return out;
}

absl::StatusOr<Explanation> FromProto(const v1::PlanExplanation& in) {
  IdReader ids;
  Explanation out;
  out.strategy = in.strategy();
  out.step = ids.Get<Step>("step", in.step());
  out.first_sample = ids.Get<Step>("first_sample", in.first_sample());
  out.last_sample = ids.Get<Step>("last_sample", in.last_sample());
  out.accepted = in.accepted();
  out.verdict = in.verdict();
  out.prices = in.prices();
  out.evaluations = in.evaluations();
  out.evaluations_max = in.evaluations_max();
  for (const v1::PlanExplanation::Layer& layer : in.layers()) {
    LayerExplanation& to = out.layers.emplace_back();
    to.load.assign(layer.load().begin(), layer.load().end());
    to.bound = layer.bound();
    to.imbalance_before = layer.imbalance_before();
    to.imbalance_after = layer.imbalance_after();
    to.why = layer.why();
    for (const v1::PlanExplanation::Candidate& one : layer.candidates()) {
      to.candidates.push_back({one.name(), one.imbalance(), one.cost(), one.slot_writes(), one.chosen(),
                               one.load_cost(), one.sync_cost(), one.port_cost(), one.moves_cost()});
    }
  }
  if (!ids.status().ok()) return ids.status();
  return out;
}

v1::MeasuredGain ToProto(const MeasuredGain& gain) {
  v1::MeasuredGain out;
  out.set_from_step(gain.from.value());
  out.set_to_step(gain.to.value());
  out.set_steps(gain.steps);
  out.set_imbalance(gain.imbalance);
  out.set_imbalance_without(gain.imbalance_without);
  out.set_step_seconds(gain.step_seconds);
  out.set_step_seconds_before(gain.step_seconds_before);
  out.set_switch_seconds(gain.switch_seconds);
  out.set_complete(gain.complete);
  return out;
}

absl::StatusOr<MeasuredGain> FromProto(const v1::MeasuredGain& in) {
  IdReader ids;
  MeasuredGain out;
  out.from = ids.Get<Step>("from_step", in.from_step());
  out.to = ids.Get<Step>("to_step", in.to_step());
  out.steps = in.steps();
  out.imbalance = in.imbalance();
  out.imbalance_without = in.imbalance_without();
  out.step_seconds = in.step_seconds();
  out.step_seconds_before = in.step_seconds_before();
  out.switch_seconds = in.switch_seconds();
  out.complete = in.complete();
  if (!ids.status().ok()) return ids.status();
  return out;
}

}  // namespace ballast
