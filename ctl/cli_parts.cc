#include "ctl/cli_parts.h"

#include <utility>

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

}  // namespace ballast
