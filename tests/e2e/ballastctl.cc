#include "tests/e2e/ballastctl.h"

#include <optional>

#include "absl/strings/str_cat.h"

namespace ballast {

int Ctl(const Cluster& cluster, const std::vector<std::string>& arguments, std::string& said) {
  std::vector<std::string> command = {cluster.binary("ballastctl"),
                                      "--coordinator",
                                      absl::StrCat("127.0.0.1:", cluster.port()),
                                      "--ca",
                                      cluster.Certificate("ca.pem"),
                                      "--cert",
                                      cluster.Certificate("operator-me.pem"),
                                      "--key",
                                      cluster.Certificate("operator-me.key")};
  command.insert(command.end(), arguments.begin(), arguments.end());
  static int number = 0;
  Process process(command, cluster.dir() / absl::StrCat("ctl", ++number));
  const std::optional<int> code = process.Wait(60);
  said = process.Output();
  return code.value_or(-1);
}

}  // namespace ballast
