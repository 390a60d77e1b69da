#include <memory>

#include "ctl/cli_parts.h"
#include "ctl/place_command.h"
#include "ctl/replay_command.h"
#include "ctl/trace_save.h"

namespace ballast {

CLI::App* AddGroup(CLI::App& app, const std::string& name, const std::string& description) {
  CLI::App* group = app.add_subcommand(name, description);
  group->require_subcommand(1);
  return group;
}

CLI::App* AddCommand(CLI::App* group, const std::string& name, const std::string& description,
                     Command& command, Command body) {
  CLI::App* sub = group->add_subcommand(name, description);
  sub->callback([&command, body = std::move(body)] { command = body; });
  return sub;
}

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
  sub->add_option("--tokens", place->tokens, "Experts that tokens chose, [token][k]: a co-activation sample")
      ->type_name("FILE.npy");
  sub->add_option("--base", place->base_version, "Plan version that the plan file changes")
      ->type_name("VERSION")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  PlaceOptions& options = place->options;
  sub->add_option("--gpus", options.ranks, "Ranks")->required()->type_name("N");
  sub->add_option("--gpus-per-node", options.ranks_per_node, "Default: all on one node")->type_name("N");
  sub->add_option("--slots", options.slots, "Expert slots of a rank in each layer")
      ->required()
      ->type_name("N");
  sub->add_option("--strategy", options.strategy, "Of single layers")
      ->type_name("NAME")
      ->capture_default_str();
  sub->add_option("--budget", options.evaluations_max, "Placements that one layer may look at")
      ->type_name("N")
      ->capture_default_str();
  sub->add_option("--seed", options.seed, "Of strategies that draw")->type_name("N")->capture_default_str();
}

}  // namespace ballast
