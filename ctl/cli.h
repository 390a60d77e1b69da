// ballastctl's command line: flags to arguments, and the one command that was named.
#pragma once

#include <ostream>
#include <string>
#include <vector>

namespace ballast {

// Runs one command; the result is the exit code. `arguments` are without the program's name. Reads BALLAST_*
// variables. Data goes to `out` and all else to `err`.
int RunCli(const std::vector<std::string>& arguments, std::ostream& out, std::ostream& err,
           bool err_is_terminal);

}  // namespace ballast
