// What the files that name commands and flags share.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "ctl/context.h"

namespace ballast {

// Set by the command that was named, run when all flags are known.
using Command = std::function<absl::Status(const Context&)>;

CLI::App* AddGroup(CLI::App& app, const std::string& name, const std::string& description);
CLI::App* AddCommand(CLI::App* group, const std::string& name, const std::string& description,
                     Command& command, Command body);

// trace import, trace save, place, replay: what works on loads (replay_cli.cc).
void AddTraceCommands(CLI::App& app, Command& command);
void AddPlaceCommand(CLI::App& app, Command& command);
void AddReplayCommand(CLI::App& app, Command& command);

}  // namespace ballast
