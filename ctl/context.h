// What every command of ballastctl is given.
#pragma once

#include <optional>
#include <ostream>
#include <string>

namespace ballast {

enum class OutputFormat { kTable, kJson, kYaml };

// From flags, BALLAST_* variables and the config file.
struct GlobalOptions {
  std::string coordinator = "127.0.0.1:7070";
  std::string ca;
  std::string cert;
  std::string key;
  bool insecure = false;
  OutputFormat output = OutputFormat::kTable;
  std::optional<double> timeout_s;  // of one request; with --wait, of the whole wait
};

// Data goes to `out` and everything else to `err`.
struct Context {
  GlobalOptions options;
  std::ostream& out;
  std::ostream& err;
  bool err_is_terminal = false;  // progress bars are drawn
};

}  // namespace ballast
