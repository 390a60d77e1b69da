#include "wire/convert_plan.h"

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace ballast {
namespace {

constexpr int32_t kEmptySlot = -1;

absl::Status Bad(const std::string& path, int64_t found, const std::string& allowed) {
  return absl::InvalidArgumentError(absl::StrCat(path, ": found ", found, ", allowed ", allowed));
}

// Puts the field that holds the message before the path of an error inside it.
absl::Status Within(const std::string& field, const absl::Status& status) {
  return absl::Status(status.code(), absl::StrCat(field, ".", std::string(status.message())));
}

}  // namespace

v1::SplitPolicy ToProto(const SplitPolicy& split) {
  v1::SplitPolicy out;
  out.set_kind(static_cast<v1::SplitKind>(split.kind));
  for (const std::vector<uint32_t>& rank : split.fractions) {
    v1::RankFractions* row = out.add_fractions();
    for (uint32_t fraction : rank) row->add_fractions(fraction);
  }
  return out;
}

v1::LayerSchedule ToProto(const LayerSchedule& schedule) {
  v1::LayerSchedule out;
  out.set_all_to_all(schedule.all_to_all);
  out.set_chunks(schedule.chunks);
  out.set_task_order(schedule.task_order);
  out.set_dispatch_compressor(schedule.dispatch_compressor);
  out.set_combine_compressor(schedule.combine_compressor);
  return out;
}

v1::LayerPlan ToProto(const LayerPlan& layer) {
  v1::LayerPlan out;
  for (const std::vector<Slot>& rank : layer.slots) {
    v1::RankSlots* row = out.add_slots();
    for (const Slot& slot : rank) row->add_experts(slot.has_value() ? slot->value() : kEmptySlot);
  }
  *out.mutable_split() = ToProto(layer.split);
  *out.mutable_schedule() = ToProto(layer.schedule);
  return out;
}

v1::PlanBody ToProto(const PlanBody& body) {
  v1::PlanBody out;
  for (Rank home : body.homes) out.add_homes(home.value());
  for (uint32_t speed : body.speeds) out.add_speeds(speed);
  for (const LayerPlan& layer : body.layers) *out.add_layers() = ToProto(layer);
  out.set_reason(body.reason);
  out.set_predicted_step_seconds(body.predicted_step_seconds);
  return out;
}

v1::Plan ToProto(const Plan& plan) {
  v1::Plan out;
  out.set_job(plan.stamp.job.value());
  out.set_generation(plan.stamp.generation.value());
  out.set_version(plan.stamp.version.value());
  out.set_base_version(plan.stamp.base_version.value());
  out.set_not_before_step(plan.stamp.not_before_step.value());
  *out.mutable_body() = ToProto(plan.body);
  return out;
}

v1::StepLoad ToProto(const StepLoad& load) {
  v1::StepLoad out;
  out.set_step(load.step.value());
  for (const std::vector<int64_t>& layer : load.tokens) {
    v1::LayerTokens* row = out.add_layers();
    for (int64_t tokens : layer) row->add_tokens(tokens);
  }
  return out;
}

absl::StatusOr<SplitPolicy> FromProto(const v1::SplitPolicy& split) {
  SplitPolicy out;
  if (split.has_kind()) {
    switch (split.kind()) {
      case v1::SPLIT_KIND_EXACT:
      case v1::SPLIT_KIND_FRACTIONS:
      case v1::SPLIT_KIND_EVEN:
        out.kind = static_cast<SplitKind>(split.kind());
        break;
      default:
        return Bad("kind", split.kind(), "1 (exact), 2 (fractions), 3 (even)");
    }
  }
  for (const v1::RankFractions& row : split.fractions()) {
    out.fractions.emplace_back(row.fractions().begin(), row.fractions().end());
  }
  return out;
}

LayerSchedule FromProto(const v1::LayerSchedule& schedule) {
  LayerSchedule out;
  if (schedule.has_all_to_all()) out.all_to_all = schedule.all_to_all();
  if (schedule.has_chunks()) out.chunks = schedule.chunks();
  if (schedule.has_task_order()) out.task_order = schedule.task_order();
  if (schedule.has_dispatch_compressor()) out.dispatch_compressor = schedule.dispatch_compressor();
  if (schedule.has_combine_compressor()) out.combine_compressor = schedule.combine_compressor();
  return out;
}

absl::StatusOr<LayerPlan> FromProto(const v1::LayerPlan& layer) {
  LayerPlan out;
  for (int r = 0; r < layer.slots_size(); ++r) {
    std::vector<Slot>& slots = out.slots.emplace_back();
    for (int i = 0; i < layer.slots(r).experts_size(); ++i) {
      int32_t expert = layer.slots(r).experts(i);
      if (expert < kEmptySlot) {
        return Bad(absl::StrCat("slots[", r, "][", i, "]"), expert, "an expert, or -1 for an empty slot");
      }
      slots.push_back(expert == kEmptySlot ? Slot() : Slot(ExpertId(expert)));
    }
  }
  auto split = FromProto(layer.split());
  if (!split.ok()) return Within("split", split.status());
  out.split = *std::move(split);
  out.schedule = FromProto(layer.schedule());
  return out;
}

absl::StatusOr<PlanBody> FromProto(const v1::PlanBody& body) {
  PlanBody out;
  for (int b = 0; b < body.homes_size(); ++b) {
    if (body.homes(b) < 0) return Bad(absl::StrCat("homes[", b, "]"), body.homes(b), "a rank");
    out.homes.push_back(Rank(body.homes(b)));
  }
  out.speeds.assign(body.speeds().begin(), body.speeds().end());
  for (int l = 0; l < body.layers_size(); ++l) {
    auto layer = FromProto(body.layers(l));
    if (!layer.ok()) return Within(absl::StrCat("layers[", l, "]"), layer.status());
    out.layers.push_back(*std::move(layer));
  }
  out.reason = body.reason();
  out.predicted_step_seconds = body.predicted_step_seconds();
  return out;
}

absl::StatusOr<Plan> FromProto(const v1::Plan& plan) {
  Plan out;
  if (plan.generation() < 0) return Bad("generation", plan.generation(), "at least 0");
  if (plan.version() < 1) return Bad("version", plan.version(), "at least 1");
  if (plan.base_version() < 0) return Bad("base_version", plan.base_version(), "at least 0");
  if (plan.not_before_step() < 0) return Bad("not_before_step", plan.not_before_step(), "at least 0");
  out.stamp.job = JobId(plan.job());
  out.stamp.generation = Generation(plan.generation());
  out.stamp.version = PlanVersion(plan.version());
  out.stamp.base_version = PlanVersion(plan.base_version());
  out.stamp.not_before_step = Step(plan.not_before_step());
  auto body = FromProto(plan.body());
  if (!body.ok()) return Within("body", body.status());
  out.body = *std::move(body);
  return out;
}

StepLoad FromProto(const v1::StepLoad& load) {
  StepLoad out;
  out.step = Step(load.step());
  for (const v1::LayerTokens& layer : load.layers()) {
    out.tokens.emplace_back(layer.tokens().begin(), layer.tokens().end());
  }
  return out;
}

}  // namespace ballast
