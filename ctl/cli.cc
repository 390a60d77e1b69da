#include "ctl/cli.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <map>

#include "absl/status/status.h"
#include "ctl/checkpoint_commands.h"
#include "ctl/cli_parts.h"
#include "ctl/cluster_commands.h"
#include "ctl/context.h"
#include "ctl/exit_code.h"
#include "ctl/job_commands.h"
#include "ctl/job_events.h"
#include "ctl/job_watch.h"
#include "ctl/local_commands.h"
#include "ctl/plan_commands.h"
#include "ctl/plan_explain.h"
#include "ctl/telemetry_commands.h"

namespace ballast {
namespace {

const std::map<std::string, OutputFormat> kFormats = {
    {"table", OutputFormat::kTable}, {"json", OutputFormat::kJson}, {"yaml", OutputFormat::kYaml}};

void AddGlobalOptions(CLI::App& app, GlobalOptions& options) {
  app.add_option("--coordinator", options.coordinator, "Where the coordinator listens")
      ->envname("BALLAST_COORDINATOR")
      ->type_name("HOST:PORT")
      ->capture_default_str();
  app.add_option("--ca", options.ca, "Certificates of the authority")
      ->envname("BALLAST_CA")
      ->type_name("FILE");
  app.add_option("--cert", options.cert, "Own certificate")->envname("BALLAST_CERT")->type_name("FILE");
  app.add_option("--key", options.key, "Own private key")->envname("BALLAST_KEY")->type_name("FILE");
  app.add_flag("--insecure", options.insecure, "Plaintext without any identity")->envname("BALLAST_INSECURE");
  app.add_option_function<std::string>(
         "-o,--output", [&options](const std::string& name) { options.output = kFormats.at(name); },
         "Format of the data on stdout: table, json or yaml")
      ->envname("BALLAST_OUTPUT")
      ->type_name("FORMAT")
      ->check(CLI::IsMember({"table", "json", "yaml"}).description(""));
  app.add_option("--timeout", options.timeout_s,
                 "Of one request (default 10); with --wait and watch, of it all (default: none)")
      ->envname("BALLAST_TIMEOUT")
      ->type_name("SECONDS")
      ->check(CLI::Range(0.001, 1e9).description(""));
  app.set_config("--config", "", "Flags from a file, as NAME=VALUE lines or TOML")->envname("BALLAST_CONFIG");
  app.allow_config_extras(CLI::config_extras_mode::error);
}

void AddJobCommands(CLI::App& app, Command& command) {
  CLI::App* group = AddGroup(app, "job", "Training jobs");

  auto submit = std::make_shared<JobSubmitArguments>();
  CLI::App* sub = AddCommand(group, "submit", "Check a job file and start the job", command,
                             [submit](const Context& context) { return JobSubmit(context, *submit); });
  sub->add_option("-f,--file", submit->file, "Job file, YAML or JSON; - is stdin")
      ->required()
      ->type_name("FILE");
  sub->add_flag("--dry-run", submit->dry_run, "Only print the resolved job; needs no coordinator");
  sub->add_flag("--wait", submit->wait, "Until the job has ended");
  sub->add_option(
         "--resume", submit->resume,
         "Go on from a checkpoint: its directory, or a job's, which stands for its newest complete one")
      ->type_name("DIR");

  auto checkpoint = std::make_shared<JobCheckpointArguments>();
  sub = AddCommand(group, "checkpoint", "Write a checkpoint at a step boundary", command,
                   [checkpoint](const Context& context) { return JobCheckpoint(context, *checkpoint); });
  sub->add_option("NAME", checkpoint->name, "Job")->required();
  sub->add_flag("--wait", checkpoint->wait, "Until it is complete");

  AddCommand(group, "list", "All jobs", command, [](const Context& context) { return JobList(context); });

  auto name = std::make_shared<std::string>();
  sub = AddCommand(group, "get", "One job", command,
                   [name](const Context& context) { return JobGet(context, *name); });
  sub->add_option("NAME", *name, "Job; may be left out when there is only one");
  sub = AddCommand(group, "watch", "A line per step, plan and evaluation until the job has ended", command,
                   [name](const Context& context) { return JobWatch(context, *name); });
  sub->add_option("NAME", *name, "Job; may be left out when there is only one");
  auto events = std::make_shared<JobEventsArguments>();
  sub = AddCommand(group, "events", "What happened to a job: states, plans, members, requests, alarms",
                   command, [events](const Context& context) { return JobEvents(context, *events); });
  sub->add_option("NAME", events->name, "Job; may be left out when there is only one");
  sub->add_option("--since", events->since, "An age (90s, 15m, 2h, 1d) or a time (2026-01-31T18:00:00Z)")
      ->type_name("TIME");
  sub->add_flag("--follow", events->follow, "Also what happens from now on, until the job has ended");
  sub = AddCommand(group, "summary", "The figures of a job that has ended, as one line of JSON", command,
                   [name](const Context& context) { return JobSummary(context, *name); });
  sub->add_option("NAME", *name, "Job; may be left out when there is only one");

  sub = AddCommand(group, "checkpoints", "The checkpoints of a job", command,
                   [name](const Context& context) { return JobCheckpoints(context, *name); });
  sub->add_option("NAME", *name, "Job; may be left out when there is only one");

  auto stop = std::make_shared<JobStopArguments>();
  sub = AddCommand(group, "stop", "End a job at a step boundary", command,
                   [stop](const Context& context) { return JobStop(context, *stop); });
  sub->add_option("NAME", stop->name, "Job")->required();
  sub->add_flag("--now", stop->now, "Do not wait for a step boundary; the job is FAILED then");
  sub->add_flag("--wait", stop->wait, "Until the job has ended");
}

void AddTelemetryCommands(CLI::App& app, CLI::App* job_group, Command& command) {
  const std::string job_help = "Job; may be left out when there is only one";
  auto load = std::make_shared<JobLoadArguments>();
  CLI::App* sub = AddCommand(job_group, "load", "Assignments by layer and expert, and by layer and rank",
                             command, [load](const Context& context) { return JobLoad(context, *load); });
  sub->add_option("NAME", load->name, job_help);
  sub->add_option("--layer", load->layer, "Default: all")->type_name("L")->check(CLI::NonNegativeNumber);
  sub->add_option("--steps", load->steps, "The newest so many of those that are kept")
      ->type_name("N")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();

  auto top = std::make_shared<TopArguments>();
  sub = AddCommand(&app, "top", "Ranks, layers and links of a job, live", command,
                   [top](const Context& context) { return Top(context, *top); });
  sub->add_option("JOB", top->name, job_help);
  sub->add_flag("--once", top->once, "One table, without clearing the screen");
  sub->add_option("--interval", top->interval_s, "Seconds between two tables")
      ->type_name("SECONDS")
      ->check(CLI::Range(0.1, 3600.0).description(""))
      ->capture_default_str();

  auto name = std::make_shared<std::string>();
  sub = AddCommand(&app, "topology", "Nodes of a job, and latency and bandwidth between them", command,
                   [name](const Context& context) { return ShowTopology(context, *name); });
  sub->add_option("JOB", *name, job_help);
}

void AddPlanCommands(CLI::App& app, Command& command) {
  CLI::App* group = AddGroup(app, "plan", "Where experts compute");
  const std::string job_help = "Job; may be left out when there is only one";

  auto job = std::make_shared<std::string>();
  CLI::App* sub = AddCommand(group, "list", "All plans of a job", command,
                             [job](const Context& context) { return PlanList(context, *job); });
  sub->add_option("JOB", *job, job_help);

  auto show = std::make_shared<PlanShowArguments>();
  sub = AddCommand(group, "show", "One plan with its slots", command,
                   [show](const Context& context) { return PlanShow(context, *show); });
  sub->add_option("JOB", show->job, job_help);
  sub->add_option("--version", show->version, "Default: the active one")->check(CLI::PositiveNumber);

  auto explain = std::make_shared<PlanExplainArguments>();
  sub = AddCommand(group, "explain", "Why a plan is what it is, and what it really gained", command,
                   [explain](const Context& context) { return PlanExplain(context, *explain); });
  sub->add_option("JOB", explain->job, job_help);
  sub->add_option("VERSION", explain->version, "Default: the active one")->check(CLI::PositiveNumber);

  auto push = std::make_shared<PlanPushArguments>();
  sub = AddCommand(group, "push", "Change a plan by hand", command,
                   [push](const Context& context) { return PlanPush(context, *push); });
  sub->add_option("JOB,--job", push->job, job_help);
  sub->add_option("-f,--file", push->file,
                  "Plan file, YAML or JSON, or lines of replay --plans-out; - is stdin")
      ->required()
      ->type_name("FILE");
  sub->add_flag("--dry-run", push->dry_run, "Let the coordinator check it and say what would change");
  sub->add_flag("--wait", push->wait, "Until the plan is active");

  auto rollback = std::make_shared<PlanRollbackArguments>();
  sub = AddCommand(group, "rollback", "Push an old plan's content as a new version", command,
                   [rollback](const Context& context) { return PlanRollback(context, *rollback); });
  sub->add_option("JOB,--job", rollback->job, job_help);
  sub->add_option("--to", rollback->to_version, "Default: the one that was active before")
      ->type_name("VERSION")
      ->check(CLI::PositiveNumber);
  sub->add_flag("--wait", rollback->wait, "Until the plan is active");
}

void AddClusterCommands(CLI::App& app, Command& command) {
  CLI::App* worker = AddGroup(app, "worker", "Worker daemons");
  AddCommand(worker, "list", "All workers", command,
             [](const Context& context) { return WorkerList(context); });
  auto drain = std::make_shared<WorkerDrainArguments>();
  CLI::App* drained =
      AddCommand(worker, "drain", "Move jobs off a worker without losing a step, and cordon it", command,
                 [drain](const Context& context) { return WorkerDrain(context, *drain); });
  drained->add_option("NAME", drain->name, "Worker")->required();
  drained->add_flag("--wait", drain->wait, "Until it has no job any more");
  for (const bool cordon : {true, false}) {
    auto name = std::make_shared<std::string>();
    AddCommand(worker, cordon ? "cordon" : "uncordon",
               cordon ? "Give a worker no more work; what it does goes on" : "Let a worker have work again",
               command,
               [name, cordon](const Context& context) { return WorkerCordon(context, *name, cordon); })
        ->add_option("NAME", *name, "Worker")
        ->required();
  }
  AddCommand(&app, "adopt", "Let a coordinator lead whose store is older than its workers", command,
             [](const Context& context) { return Adopt(context); });
  AddCommand(&app, "strategies",
             "Planner strategies, all-to-alls and compressors that jobs and plans may name", command,
             [](const Context& context) { return Strategies(context); });
  auto ask = std::make_shared<bool>(false);
  CLI::App* sub = AddCommand(&app, "version", "Versions of program and protocol", command,
                             [ask](const Context& context) { return Version(context, *ask); });
  sub->add_flag("--server", *ask, "Ask the coordinator for its own as well");
}

void AddLocalCommands(CLI::App& app, Command& command) {
  CLI::App* data = AddGroup(app, "data", "Training data");
  auto prepare = std::make_shared<DataPrepareArguments>();
  CLI::App* sub = AddCommand(data, "prepare", "Turn text files into an indexed data set", command,
                             [prepare](const Context& context) { return DataPrepare(context, *prepare); });
  sub->add_option("--out", prepare->prefix, "Writes PREFIX.bin and PREFIX.idx")
      ->required()
      ->type_name("PREFIX");
  sub->add_option("PATH", prepare->paths, "Files and folders")->required();

  CLI::App* certs = AddGroup(app, "certs", "Certificates");
  auto request = std::make_shared<DevCertificates>();
  sub = AddCommand(certs, "dev", "A development authority and the certificates that it signs", command,
                   [request](const Context& context) { return CertsDev(context, *request); });
  sub->add_option("--out", request->folder, "Folder for the files")->required()->type_name("DIR");
  sub->add_option("--workers", request->workers, "Names of workers, separated by commas")->delimiter(',');
  sub->add_option("--operators", request->operators, "Names of operators, separated by commas")
      ->delimiter(',');
  sub->add_option("--hosts", request->hosts, "Names and addresses of the coordinator beside localhost")
      ->delimiter(',');
  sub->add_option("--days", request->days, "Days until they expire")->capture_default_str();
  sub->add_flag("--force", request->force, "Replace files that are there");
}

int RunCommand(const Command& command, const Context& context) {
  absl::Status status = command(context);
  context.out.flush();
  if (!status.ok()) context.err << "ballastctl: " << std::string(status.message()) << std::endl;
  if (status.ok() && !context.out) {
    context.err << "ballastctl: cannot write the output" << std::endl;
    return kExitError;
  }
  return ExitCodeFor(status);
}

}  // namespace

int RunCli(const std::vector<std::string>& arguments, std::ostream& out, std::ostream& err,
           bool err_is_terminal) {
  Context context{GlobalOptions(), out, err, err_is_terminal};
  Command command;
  CLI::App app("Submits and watches training jobs of a Ballast coordinator, and moves their experts",
               "ballastctl");
  app.footer(kExitCodeHelp);
  app.fallthrough();  // global options may stand behind the command
  app.require_subcommand(1);
  AddGlobalOptions(app, context.options);
  AddJobCommands(app, command);
  AddTelemetryCommands(app, app.get_subcommand("job"), command);
  AddPlanCommands(app, command);
  AddClusterCommands(app, command);
  AddLocalCommands(app, command);
  AddReplayCommand(app, command);
  AddTraceCommands(app, command);
  AddPlaceCommand(app, command);
  try {
    std::vector<std::string> reversed(arguments.rbegin(), arguments.rend());  // as CLI11 takes them
    app.parse(reversed);
  } catch (const CLI::ParseError& e) {
    int code = app.exit(e, out, err);
    return code == 0 ? kExitOk : kExitUsage;
  }
  return RunCommand(command, context);
}

}  // namespace ballast
