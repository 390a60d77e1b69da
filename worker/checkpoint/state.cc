#include "worker/checkpoint/state.h"

#include <limits>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "protocol/checkpoint.h"
#include "worker/checkpoint/json.h"

namespace ballast {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kIntMax = std::numeric_limits<int>::max();
constexpr const char* kSplitKinds[] = {"exact", "fractions", "even"};  // from SplitKind 1 on

Json ModelJson(const ModelConfig& model) {
  return {{"vocabulary_size", model.vocabulary_size},
          {"hidden_size", model.hidden_size},
          {"layers", model.layers},
          {"attention_heads", model.attention_heads},
          {"key_value_heads", model.key_value_heads},
          {"head_size", model.head_size},
          {"rope_theta", model.rope_theta},
          {"rms_norm_epsilon", model.rms_norm_epsilon},
          {"experts", model.moe.experts},
          {"top_k", model.moe.top_k},
          {"intermediate_size", model.moe.intermediate_size}};
}

ModelConfig ReadModel(const nlohmann::json& in, JsonReader& reader) {
  ModelConfig model;
  const auto whole = [&](const char* name) { return static_cast<int>(reader.Whole(in, name, 1, kIntMax)); };
  model.vocabulary_size = whole("vocabulary_size");
  model.hidden_size = whole("hidden_size");
  model.layers = whole("layers");
  model.attention_heads = whole("attention_heads");
  model.key_value_heads = whole("key_value_heads");
  model.head_size = whole("head_size");
  model.rope_theta = reader.Real(in, "rope_theta");
  model.rms_norm_epsilon = reader.Real(in, "rms_norm_epsilon");
  model.moe.experts = whole("experts");
  model.moe.top_k = whole("top_k");
  model.moe.intermediate_size = whole("intermediate_size");
  return model;
}

Json LayerJson(const LayerPlan& layer) {
  Json slots = Json::array();
  for (const std::vector<Slot>& rank : layer.slots) {
    Json experts = Json::array();
    for (const Slot& slot : rank) experts.push_back(slot.has_value() ? slot->value() : -1);
    slots.push_back(std::move(experts));
  }
  const LayerSchedule& schedule = layer.schedule;
  return {{"slots", std::move(slots)},
          {"split", kSplitKinds[static_cast<int>(layer.split.kind) - 1]},
          {"fractions", layer.split.fractions},
          {"all_to_all", schedule.all_to_all},
          {"chunks", schedule.chunks},
          {"task_order", schedule.task_order},
          {"dispatch_compressor", schedule.dispatch_compressor},
          {"combine_compressor", schedule.combine_compressor}};
}

// A list of whole numbers from `low` on.
template <class Add>
void ReadNumbers(const nlohmann::json& list, int64_t low, const char* what, JsonReader& reader,
                 const Add& add) {
  if (!list.is_array()) return reader.Complain(what, "found what is no list");
  for (const nlohmann::json& number : list) {
    // A fraction or what exceeds 32 bits is no rank, expert, speed or part.
    if (!number.is_number_integer() || number < low || number > std::numeric_limits<uint32_t>::max())
      return reader.Complain(what, "found what is no whole number, or none that is allowed");
    add(number.get<int64_t>());
  }
}

LayerPlan ReadLayer(const nlohmann::json& in, JsonReader& reader) {
  LayerPlan layer;
  for (const nlohmann::json& rank : reader.List(in, "slots")) {
    std::vector<Slot>& slots = layer.slots.emplace_back();
    ReadNumbers(rank, -1, "slots", reader, [&](int64_t expert) {
      slots.push_back(expert < 0 ? Slot() : Slot(ExpertId(static_cast<int>(expert))));
    });
  }
  const std::string split = reader.Text(in, "split");
  layer.split.kind = SplitKind{};
  for (int kind = 0; kind < 3; ++kind) {
    if (split == kSplitKinds[kind]) layer.split.kind = static_cast<SplitKind>(kind + 1);
  }
  if (layer.split.kind == SplitKind{})
    reader.Complain("split", absl::StrCat("found \"", split, "\", allowed exact, fractions, even"));
  for (const nlohmann::json& rank : reader.List(in, "fractions")) {
    std::vector<uint32_t>& parts = layer.split.fractions.emplace_back();
    ReadNumbers(rank, 0, "fractions", reader,
                [&](int64_t part) { parts.push_back(static_cast<uint32_t>(part)); });
  }
  layer.schedule.all_to_all = reader.Text(in, "all_to_all");
  layer.schedule.chunks = static_cast<int>(reader.Whole(in, "chunks", 1, kIntMax));
  layer.schedule.task_order = reader.Text(in, "task_order");
  layer.schedule.dispatch_compressor = reader.Text(in, "dispatch_compressor");
  layer.schedule.combine_compressor = reader.Text(in, "combine_compressor");
  return layer;
}

}  // namespace

std::string StateText(const CheckpointState& state) {
  Json json;
  json["schema_version"] = kCheckpointSchema;
  json["job"] = state.job.value();
  json["step"] = state.step.value();
  json["generation"] = state.generation.value();
  json["seed"] = state.seed;
  json["data_position"] = {{"next_step", state.step.value() + 1},
                           {"sequences_trained", state.sequences_trained}};
  json["model"] = ModelJson(state.model);
  json["ranks"] = state.ranks;
  json["slots_per_rank"] = state.slots_per_rank;
  json["block_elements"] = state.block_elements;
  Json& plan = json["plan"];
  plan["version"] = state.plan_version.value();
  Json& homes = plan["homes"] = Json::array();
  for (Rank home : state.plan.homes) homes.push_back(home.value());
  plan["speeds"] = state.plan.speeds;
  Json& layers = plan["layers"] = Json::array();
  for (const LayerPlan& layer : state.plan.layers) layers.push_back(LayerJson(layer));
  plan["reason"] = state.plan.reason;
  // What is not UTF-8 (a reason is free text) must not keep the checkpoint from being written.
  return json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

absl::StatusOr<CheckpointState> ReadState(const std::string& text, const std::string& file) {
  BALLAST_ASSIGN_OR_RETURN(const nlohmann::json in, ParseObject(text, file));
  JsonReader reader(file);
  const int64_t schema = reader.Whole(in, "schema_version", 0);
  if (reader.ok() && schema != kCheckpointSchema) {
    return absl::InvalidArgumentError(
        absl::StrCat(file, ": schema_version: found ", schema, ", this program reads ", kCheckpointSchema));
  }
  CheckpointState state;
  state.job = JobId(reader.Text(in, "job"));
  state.step = Step(reader.Whole(in, "step", 1));
  state.generation = Generation(reader.Whole(in, "generation", 0));
  const nlohmann::json& seed = reader.Member(in, "seed");
  if (seed.is_number_unsigned()) {
    state.seed = seed.get<uint64_t>();
  } else {
    reader.Complain("seed", "found what is no whole number of 64 bits");
  }
  const nlohmann::json& position = reader.Member(in, "data_position");
  state.sequences_trained = reader.Whole(position, "sequences_trained", 0);
  if (reader.Whole(position, "next_step", 1) != state.step.value() + 1)
    reader.Complain("data_position.next_step", absl::StrCat("allowed ", state.step.value() + 1));
  state.model = ReadModel(reader.Member(in, "model"), reader);
  state.ranks = static_cast<int>(reader.Whole(in, "ranks", 1, kIntMax));
  state.slots_per_rank = static_cast<int>(reader.Whole(in, "slots_per_rank", 1, kIntMax));
  state.block_elements = reader.Whole(in, "block_elements", 1);
  const nlohmann::json& plan = reader.Member(in, "plan");
  state.plan_version = PlanVersion(reader.Whole(plan, "version", 1));
  ReadNumbers(reader.List(plan, "homes"), 0, "homes", reader,
              [&](int64_t rank) { state.plan.homes.push_back(Rank(static_cast<int>(rank))); });
  ReadNumbers(reader.List(plan, "speeds"), 0, "speeds", reader,
              [&](int64_t speed) { state.plan.speeds.push_back(static_cast<uint32_t>(speed)); });
  for (const nlohmann::json& layer : reader.List(plan, "layers"))
    state.plan.layers.push_back(ReadLayer(layer, reader));
  state.plan.reason = reader.Text(plan, "reason");
  BALLAST_RETURN_IF_ERROR(reader.status());
  return state;
}

absl::Status CheckSameModel(const ModelConfig& found, const ModelConfig& wanted, const std::string& file) {
  const Json there = ModelJson(found), here = ModelJson(wanted);
  for (const auto& [name, value] : here.items()) {
    if (there[name] == value) continue;
    return absl::FailedPreconditionError(
        absl::StrCat(file, ": model.", name, ": found ", there[name].dump(), ", the job has ", value.dump()));
  }
  return absl::OkStatus();
}

}  // namespace ballast
