// What programs say of their own flags.
#pragma once

#include <set>
#include <string>

namespace ballast {

// The output of `BINARY_DIR/command --help`; `command` may have subcommands behind the program's name.
std::string Help(const std::string& command);

// Every --flag that a text names, but --help.
std::set<std::string> FlagsIn(const std::string& text);

}  // namespace ballast
