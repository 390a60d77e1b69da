#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "ctl/cli_parts.h"
#include "ctl/place_command.h"
#include "ctl/replay_command.h"
#include "ctl/trace_save.h"

namespace ballast {

namespace {

// What `place` and `replay` both ask: how many ranks and slots, and who plans.
template <class Options>
void AddPlacementOptions(CLI::App& sub, Options& options) {
  sub.add_option("--gpus", options.ranks, "Ranks")->required()->type_name("N");
  sub.add_option("--gpus-per-node", options.ranks_per_node, "Default: all on one node")->type_name("N");
  sub.add_option("--slots", options.slots, "Expert slots of a rank in each layer")
      ->required()
      ->type_name("N");
  sub.add_option("--strategy", options.strategy, "Of single layers")
      ->type_name("NAME")
      ->capture_default_str();
}

// CLI11 would wrap a negative number around.
std::string CheckSeed(const std::string& text) {
  const bool digits =
      !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
  uint64_t seed = 0;
  if (digits && absl::SimpleAtoi(text, &seed)) return "";
  return absl::StrCat("found ", text, ", allowed is 0..", UINT64_MAX);
}

void AddSeedOption(CLI::App& sub, uint64_t& seed) {
  sub.add_option("--seed", seed, "Of strategies that draw")
      ->check(CLI::Validator(CheckSeed, ""))
      ->type_name("N")
      ->capture_default_str();
}

// A sample of tokens, and sequences of it.
template <class Arguments>
void AddTokenOptions(CLI::App& sub, Arguments& arguments) {
  CLI::Option* tokens =
      sub.add_option("--tokens", arguments.tokens,
                     "Experts that tokens chose, [token][k]; with a sequence length also [layer][token][k]")
          ->type_name("FILE.npy");
  CLI::Option* length =
      sub.add_option("--sequence-length", arguments.sequences.length,
                     "Tokens of a sequence: kmeans and genetic also choose which sequences a rank gets")
          ->needs(tokens)
          ->check(CLI::PositiveNumber)
          ->type_name("N");
  sub.add_option("--sequences-out", arguments.sequences.out,
                 "Which sequences each rank gets, and the tokens that leave ranks and nodes")
      ->needs(length)
      ->type_name("FILE.json");
}

// The models of --costs, and what they count with.
void AddCostOptions(CLI::App& sub, ReplayArguments& arguments) {
  CLI::Option* model =
      sub.add_option("--costs", arguments.costs, "Also hours, and plans that weigh them: ring or home")
          ->type_name("MODEL")
          ->check(CLI::IsMember({"ring", "home"}).description(""));
  ReplayCosts& costs = arguments.cost_figures;
  const auto add = [&](const char* name, double& figure, const char* description) {
    return sub.add_option(name, figure, description)->needs(model)->capture_default_str();
  };
  add("--d", costs.hidden, "Hidden size");
  add("--ff", costs.inner, "Width inside an expert");
  add("--tflops", costs.tflops, "Of a rank");
  add("--nic-gbs", costs.nic_gbs, "Of a rank, GB/s");
  CLI::Option* nvlink = add("--nvlink-gbs", costs.nvlink_gbs, "Of a rank inside its node, GB/s; home alone");
  add("--weight-mb", costs.weight_mb, "Of one expert");
  add("--state-mb", costs.state_mb, "Optimizer state of one expert");
  add("--iterations-per-step", costs.iterations_per_step, "Training iterations of one row");
  sub.parse_complete_callback([nvlink, &arguments] {
    if (nvlink->count() == 0 || arguments.costs == "home") return;
    throw CLI::ValidationError(
        "--nvlink-gbs", absl::StrCat("found with --costs ", arguments.costs, ", allowed is --costs home"));
  });
}

}  // namespace

void AddTraceCommands(CLI::App& app, Command& command) {
  CLI::App* trace = AddGroup(app, "trace", "Recorded loads");
  auto import = std::make_shared<TraceImportArguments>();
  CLI::App* sub = AddCommand(trace, "import", "Loads recorded by another project as an array", command,
                             [import](const Context& context) { return TraceImport(context, *import); });
  sub->add_option("FORMAT", import->format, "smartmoe or megatron-jsonl")
      ->required()
      ->check(CLI::IsMember({"smartmoe", "megatron-jsonl"}).description(""));
  sub->add_option(
         "PATH", import->path,
         "smartmoe: folder of table_iter<I>_rank<R>.log, or a file of 16-bit values without a header; "
         "megatron-jsonl: a file, or a folder of *.jsonl")
      ->required();
  sub->add_option("--shape", import->shape, "Of such a file: STEPS,SOURCES,LAYERS,MICROBATCHES,EXPERTS")
      ->delimiter(',')
      ->type_name("N,...");
  sub->add_option("--experts", import->experts,
                  "megatron-jsonl; default: the highest that was chosen, plus one")
      ->type_name("N");
  sub->add_option("--tokens-out", import->tokens_out, "megatron-jsonl: also what tokens of one layer chose")
      ->type_name("FILE.npy");
  sub->add_option("--tokens-layer", import->tokens_layer, "Of --tokens-out, from 0")
      ->type_name("L")
      ->capture_default_str();
  sub->add_option("--out", import->out, "The array")->required()->type_name("FILE.npy");

  auto save = std::make_shared<TraceSaveArguments>();
  sub = AddCommand(trace, "save", "What a job really routed, as an array that replay takes", command,
                   [save](const Context& context) { return TraceSave(context, *save); });
  sub->add_option("NAME", save->name, "Job; may be left out when there is only one");
  sub->add_option("--out", save->out, "The array")->required()->type_name("FILE.npy");
  sub->add_option("--tokens", save->tokens,
                  "Also what sampled tokens chose, for --tokens of replay and place")
      ->type_name("FILE.npy");
  sub->add_flag("--follow", save->follow, "Until the job has ended, so that no step is left out");
}

void AddPlaceCommand(CLI::App& app, Command& command) {
  auto place = std::make_shared<PlaceArguments>();
  CLI::App* sub =
      AddCommand(&app, "place", "One good placement for given loads, as a plan file with -o yaml", command,
                 [place](const Context& context) { return PlaceExperts(context, *place); });
  sub->add_option("--loads", place->loads,
                  "Integers [layer][expert], or a recording as replay takes it, summed up")
      ->required()
      ->type_name("FILE.npy");
  AddTokenOptions(*sub, *place);
  sub->add_option("--base", place->base_version, "Plan version that the plan file changes")
      ->type_name("VERSION")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  PlaceOptions& options = place->options;
  AddPlacementOptions(*sub, options);
  sub->add_option("--budget", options.evaluations_max, "Placements that one layer may look at")
      ->type_name("N")
      ->capture_default_str();
  AddSeedOption(*sub, options.seed);
}

void AddReplayCommand(CLI::App& app, Command& command) {
  auto replay = std::make_shared<ReplayArguments>();
  CLI::App* sub =
      AddCommand(&app, "replay", "What a planner strategy would have done on recorded loads", command,
                 [replay](const Context& context) { return ReplayTrace(context, *replay); });
  sub->add_option("--loads", replay->loads,
                  "Integers [step][layer][microbatch][expert] or [step][layer][microbatch][source][expert]")
      ->required()
      ->type_name("FILE.npy");
  ReplayOptions& options = replay->options;
  AddPlacementOptions(*sub, options);
  sub->add_option("--every", options.every, "Rows between two looks")->type_name("N")->capture_default_str();
  sub->add_option("--from", options.from, "Row from which figures count")
      ->type_name("STEP")
      ->capture_default_str();
  sub->add_option("--writes", options.writes_max,
                  "Slot writes of one bounded re-plan; twice as many when far off")
      ->type_name("N")
      ->capture_default_str();
  sub->add_option("--budget", options.evaluations_max, "Placements that one plan of a layer may look at")
      ->type_name("N")
      ->capture_default_str();
  AddSeedOption(*sub, options.seed);
  sub->add_option("--split", replay->split, "Tokens over copies: exact, fractions (of the plan) or even")
      ->type_name("KIND")
      ->check(CLI::IsMember({"exact", "fractions", "even"}).description(""))
      ->capture_default_str();
  sub->add_option("--plans-out", replay->plans_out, "Every plan as a line of JSON")->type_name("FILE.jsonl");
  CLI::Option* telemetry =
      sub->add_option("--telemetry", replay->telemetry,
                      "Times beside the loads, with columns step,gpu,tokens,compute_ms,nic_bytes,nic_ms")
          ->type_name("FILE.csv");
  sub->add_option("--events-out", replay->events_out,
                  "Slow GPUs and ports by --telemetry, a line of JSON each")
      ->needs(telemetry)
      ->type_name("FILE.jsonl");
  CLI::Option* html =
      sub->add_option("--html", replay->html, "A report with charts, opened without a network")
          ->type_name("FILE.html");
  sub->add_option("--compare", replay->compare,
                  "Strategies that the report shows beside it, separated by commas")
      ->delimiter(',')
      ->needs(html)
      ->type_name("NAME,...");
  AddCostOptions(*sub, *replay);
  AddTokenOptions(*sub, *replay);
}

}  // namespace ballast
