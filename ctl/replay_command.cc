#include "ctl/replay_command.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <optional>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "ctl/exit_code.h"
#include "ctl/megatron_trace.h"
#include "ctl/output.h"
#include "ctl/read_array.h"
#include "ctl/replay_report.h"
#include "ctl/write_file.h"
#include "replay/load_trace.h"
#include "replay/trace_import.h"

namespace ballast {
namespace {

// {"step", "layer", "hosts": [[experts of rank 0], ...], "frac" in the same shape: shares
// that figures are counted with, unless the split is exact}.
std::string PlanLine(const ReplayPlan& plan) {
  nlohmann::ordered_json hosts = nlohmann::ordered_json::array();
  nlohmann::ordered_json fractions = nlohmann::ordered_json::array();
  for (size_t g = 0; g < plan.table.size(); ++g) {
    hosts.push_back(nlohmann::ordered_json::array());
    fractions.push_back(nlohmann::ordered_json::array());
    for (size_t i = 0; i < plan.table[g].size(); ++i) {
      if (plan.table[g][i] == kNoExpert) continue;
      hosts.back().push_back(plan.table[g][i]);
      if (!plan.fractions.empty()) fractions.back().push_back(plan.fractions[g][i] / 65536.0);
    }
  }
  nlohmann::ordered_json line = {{"step", plan.step}, {"layer", plan.layer}, {"hosts", hosts}};
  if (!plan.fractions.empty()) line["frac"] = fractions;
  return line.dump() + "\n";
}

// One object a line: who was found slow, or healthy again, at which step, how fast it is and what was done.
std::string EventLines(const std::vector<ReplayReaction>& reactions) {
  std::string lines;
  for (const auto& [event, reaction] : reactions) {
    const nlohmann::ordered_json line = {
        {"step", event.step.value()},  {"resource", ToString(event.resource)},
        {"gpu", event.member},         {"slow", event.slow},
        {"speed", 1 / event.slowdown}, {"reaction", ToString(reaction)}};
    absl::StrAppend(&lines, line.dump(), "\n");
  }
  return lines;
}

template <class T>
nlohmann::ordered_json Optional(const std::optional<T>& value) {
  return value ? nlohmann::ordered_json(*value) : nlohmann::ordered_json(nullptr);
}

nlohmann::ordered_json ToJson(const ReplayArguments& arguments, const ReplayFigures& figures) {
  nlohmann::ordered_json layers = nlohmann::ordered_json::array();
  for (size_t l = 0; l < figures.layers.size(); ++l) {
    layers.push_back({{"layer", l},
                      {"max_over_mean", figures.layers[l].max_over_mean},
                      {"slot_writes", figures.layers[l].slot_writes},
                      {"replans", figures.layers[l].replans}});
  }
  nlohmann::ordered_json json = {{"strategy", arguments.options.strategy},
                                 {"gpus", arguments.options.ranks},
                                 {"slots", arguments.options.slots},
                                 {"every", arguments.options.every},
                                 {"from", arguments.options.from},
                                 {"max_over_mean", figures.max_over_mean},
                                 {"static_max_over_mean", figures.static_max_over_mean},
                                 {"oracle_max_over_mean", Optional(figures.oracle_max_over_mean)},
                                 {"bound_with_replicas", Optional(figures.bound_with_replicas)},
                                 {"bound_no_replicas", Optional(figures.bound_no_replicas)},
                                 {"slot_writes_per_layer", figures.slot_writes_per_layer},
                                 {"replans_per_layer", figures.replans_per_layer},
                                 {"slot_writes_max_per_replan", figures.writes_max},
                                 {"share_of_oracle_gain", Optional(figures.share_of_oracle_gain)},
                                 {"plan_ms", {{"p50", figures.plan_ms_p50}, {"p99", figures.plan_ms_p99}}},
                                 {"layers", layers}};
  if (figures.hours) {
    json["hours"] = {{"step", figures.hours->step},
                     {"sync", figures.hours->sync},
                     {"migration", figures.hours->migration},
                     {"total", figures.hours->total()}};
  }
  return json;
}

std::string FixedOrDash(const std::optional<double>& value, int decimals) {
  return value ? Fixed(*value, decimals) : "-";
}

void PrintTables(const Context& context, const ReplayFigures& figures) {
  Table summary({"FIGURE", "VALUE"});
  summary.Add({"max/mean", Fixed(figures.max_over_mean, 4)});
  summary.Add({"  contiguous", Fixed(figures.static_max_over_mean, 4)});
  summary.Add({"  oracle", FixedOrDash(figures.oracle_max_over_mean, 4)});
  summary.Add({"  bound with replicas", FixedOrDash(figures.bound_with_replicas, 4)});
  summary.Add({"  bound without", FixedOrDash(figures.bound_no_replicas, 4)});
  summary.Add({"share of oracle's gain", FixedOrDash(figures.share_of_oracle_gain, 4)});
  summary.Add({"slot writes per layer", Fixed(figures.slot_writes_per_layer, 1)});
  summary.Add({"re-plans per layer", Fixed(figures.replans_per_layer, 1)});
  summary.Add({"planning ms, p50 / p99",
               absl::StrCat(Fixed(figures.plan_ms_p50, 2), " / ", Fixed(figures.plan_ms_p99, 2))});
  if (figures.hours) {
    summary.Add({"hours", Fixed(figures.hours->total(), 3)});
    summary.Add({"  step", Fixed(figures.hours->step, 3)});
    summary.Add({"  replica sync", Fixed(figures.hours->sync, 3)});
    summary.Add({"  migration", Fixed(figures.hours->migration, 4)});
  }
  summary.Print(context.out);
  context.out << "\n";
  Table layers({"LAYER", "MAX/MEAN", "SLOT WRITES", "RE-PLANS"});
  for (size_t l = 0; l < figures.layers.size(); ++l) {
    layers.Add({absl::StrCat(l), Fixed(figures.layers[l].max_over_mean, 4),
                absl::StrCat(figures.layers[l].slot_writes), absl::StrCat(figures.layers[l].replans)});
  }
  layers.Print(context.out);
}

absl::Status WriteReport(const ReplayArguments& arguments, ReplayOptions options, const LoadTrace& trace,
                         const ReplayResult& result) {
  std::vector<ReplayRun> runs = {{options.strategy, result}};
  for (const std::string& strategy : arguments.compare) {
    if (strategy == arguments.options.strategy) continue;
    options.strategy = strategy;
    absl::StatusOr<ReplayResult> other = Replay(trace, options);
    if (!other.ok()) return BadInput(other.status());
    runs.push_back({strategy, *std::move(other)});
  }
  options.strategy = arguments.options.strategy;
  return WriteFileByRename(arguments.html, ReplayReport(arguments.loads, options, trace, runs), 0644);
}

// Files in the order of their names. Lines are read one by one: such files are large.
absl::StatusOr<std::string> ImportMegatron(const TraceImportArguments& arguments) {
  namespace fs = std::filesystem;
  std::error_code error;
  std::vector<std::string> paths = {arguments.path};
  if (fs::is_directory(arguments.path, error)) {
    paths.clear();
    fs::directory_iterator entries(arguments.path, error);
    if (error) return absl::InvalidArgumentError(absl::StrCat(arguments.path, ": ", error.message()));
    for (const fs::directory_entry& entry : entries) {
      if (entry.path().extension() == ".jsonl") paths.push_back(entry.path().string());
    }
    std::sort(paths.begin(), paths.end());
    if (paths.empty()) return absl::InvalidArgumentError(absl::StrCat(arguments.path, ": found no *.jsonl"));
  }
  MegatronTrace trace(arguments.experts, arguments.tokens_out.empty() ? -1 : arguments.tokens_layer);
  for (const std::string& path : paths) {
    BALLAST_RETURN_IF_ERROR(CheckRegularFile(path));
    std::ifstream file(path);
    if (!file) return absl::InvalidArgumentError(absl::StrCat(path, ": cannot be opened"));
    int64_t number = 0;
    for (std::string line; std::getline(file, line);) {
      BALLAST_RETURN_IF_ERROR(trace.AddLine(absl::StrCat(path, ", line ", ++number), line));
    }
    if (file.bad()) return absl::InvalidArgumentError(absl::StrCat(path, ": cannot be read"));
  }
  if (!arguments.tokens_out.empty()) {
    BALLAST_ASSIGN_OR_RETURN(const std::string tokens, trace.Tokens());
    BALLAST_RETURN_IF_ERROR(WriteFileByRename(arguments.tokens_out, tokens, 0644));
  }
  return trace.Loads();
}

}  // namespace

absl::Status ReplayTrace(const Context& context, const ReplayArguments& arguments) {
  if (arguments.sequences.length == 0) {  // otherwise ChooseSequencesFor is as strict
    std::vector<std::string> strategies = arguments.compare;
    strategies.insert(strategies.begin(), arguments.options.strategy);
    BALLAST_RETURN_IF_ERROR(CheckSampleIsUsed(arguments.tokens, strategies));
  }
  BALLAST_ASSIGN_OR_RETURN(const NpyArray array, ReadArray(arguments.loads));
  const absl::StatusOr<LoadTrace> trace = LoadTrace::FromArray(array);
  if (!trace.ok()) return AtFile(arguments.loads, trace.status());

  ReplayOptions options = arguments.options;
  options.split = arguments.split == "even"        ? ReplaySplit::kEven
                  : arguments.split == "fractions" ? ReplaySplit::kFractions
                                                   : ReplaySplit::kExact;
  if (!arguments.costs.empty()) {
    options.costs = arguments.cost_figures;
    options.costs->model = arguments.costs == "home" ? CostModel::kHome : CostModel::kRing;
  }
  std::optional<SequenceSample> sample;
  SequenceChoice choice;
  if (!arguments.tokens.empty()) {
    if (arguments.sequences.length > 0) {
      BALLAST_ASSIGN_OR_RETURN(sample,
                               ReadSequences(arguments.tokens, trace->experts(), arguments.sequences.length));
      BALLAST_ASSIGN_OR_RETURN(
          choice, ChooseSequencesFor(
                      *sample, {options.strategy, options.ranks, options.ranks_per_node, trace->layers(),
                                trace->experts(), options.evaluations_max, options.seed}));
      options.sequences = &choice;
    } else {
      BALLAST_ASSIGN_OR_RETURN(options.together, ReadPairs(arguments.tokens, trace->experts()));
    }
  }
  options.milliseconds = [] {
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch())
        .count();
  };
  absl::StatusOr<TelemetryTable> telemetry;
  if (!arguments.telemetry.empty()) {
    BALLAST_ASSIGN_OR_RETURN(const std::string text, ReadWholeFile(arguments.telemetry));
    telemetry = TelemetryTable::Parse(text, options.ranks, trace->steps());
    if (!telemetry.ok()) return AtFile(arguments.telemetry, telemetry.status());
    options.telemetry = &*telemetry;
  }
  std::unique_ptr<FileByRename> plans;
  absl::Status plans_written;
  if (!arguments.plans_out.empty()) {
    BALLAST_ASSIGN_OR_RETURN(plans, FileByRename::Create(arguments.plans_out, 0644));
    options.plan_made = [&](const ReplayPlan& plan) {
      if (plans_written.ok()) plans_written = plans->Append(PlanLine(plan));
    };
  }
  const absl::StatusOr<ReplayResult> result = Replay(*trace, options);
  if (!result.ok()) return BadInput(result.status());
  BALLAST_RETURN_IF_ERROR(plans_written);
  options.plan_made = nullptr;  // the report's other strategies are not asked for
  if (sample) {
    BALLAST_RETURN_IF_ERROR(
        WriteSequences(arguments.sequences, *sample, choice, result->last, options.ranks_per_node));
  }
  if (!arguments.events_out.empty()) {
    BALLAST_RETURN_IF_ERROR(WriteFileByRename(arguments.events_out, EventLines(result->slow), 0644));
  }
  if (plans) BALLAST_RETURN_IF_ERROR(plans->Finish());
  if (!arguments.html.empty()) {
    BALLAST_RETURN_IF_ERROR(WriteReport(arguments, options, *trace, *result));
  }
  if (!PrintForPrograms(context, ToJson(arguments, result->figures))) PrintTables(context, result->figures);
  return absl::OkStatus();
}

absl::Status TraceImport(const Context& context, const TraceImportArguments& arguments) {
  namespace fs = std::filesystem;
  std::string bytes;
  std::error_code error;
  if (arguments.format == "megatron-jsonl") {
    BALLAST_ASSIGN_OR_RETURN(bytes, ImportMegatron(arguments));
  } else if (fs::is_directory(arguments.path, error)) {
    std::map<std::pair<int, int>, std::string> files;
    fs::directory_iterator entries(arguments.path, error);
    if (error) return absl::InvalidArgumentError(absl::StrCat(arguments.path, ": ", error.message()));
    for (const fs::directory_entry& entry : entries) {
      std::pair<int, int> key;
      if (!ParseSmartMoeName(entry.path().filename().string(), key)) continue;
      BALLAST_ASSIGN_OR_RETURN(files[key], ReadWholeFile(entry.path().string()));
    }
    BALLAST_ASSIGN_OR_RETURN(bytes, ImportSmartMoeTables(files));
  } else {
    BALLAST_ASSIGN_OR_RETURN(const std::string values, ReadWholeFile(arguments.path));
    BALLAST_ASSIGN_OR_RETURN(bytes, ImportRawU16(values, arguments.shape));
  }
  BALLAST_RETURN_IF_ERROR(WriteFileByRename(arguments.out, bytes, 0644));
  BALLAST_ASSIGN_OR_RETURN(const NpyArray array, NpyArray::Parse(std::move(bytes)));
  if (PrintForPrograms(context, {{"out", arguments.out}, {"shape", array.shape()}})) return absl::OkStatus();
  context.out << arguments.out << ":";
  const char* const names[] = {"steps", "layers", "microbatches", "sources", "experts"};
  for (size_t i = 0; i < array.shape().size(); ++i) {
    context.out << (i ? ", " : " ") << array.shape()[i] << " " << names[i];
  }
  context.out << "\n";
  return absl::OkStatus();
}

}  // namespace ballast
