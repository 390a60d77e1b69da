#include <unistd.h>

#include <cstdlib>
#include <iostream>

#include "ctl/cli.h"

int main(int argc, char** argv) {
  // gRPC's own lines about failed handshakes would stand between ours; set GRPC_VERBOSITY to see them.
  setenv("GRPC_VERBOSITY", "NONE", /*overwrite=*/0);
  return ballast::RunCli(std::vector<std::string>(argv + 1, argv + argc), std::cout, std::cerr,
                         isatty(STDERR_FILENO) == 1);
}
