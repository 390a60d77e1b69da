// ballastctl run in the test's own process, and the files that replay and place read.
#pragma once

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "ctl/cli.h"
#include "ctl/exit_code.h"
#include "tests/base/temp_dir.h"

namespace ballast {

struct Result {
  int code = 0;
  std::string out;
  std::string err;
};

inline Result Ctl(const std::vector<std::string>& arguments) {
  std::ostringstream out, err;
  const int code = RunCli(arguments, out, err, false);
  return {code, out.str(), err.str()};
}

// Four iterations of two ranks: 1 layer, 1 microbatch, 4 experts, the first of them hot.
inline std::string ImportedTrace(const TempDir& folder) {
  for (const int iteration : {1, 11, 21, 31}) {
    for (const int rank : {0, 1}) {
      std::ofstream(folder.path() + "/table_iter" + std::to_string(iteration) + "_rank" +
                    std::to_string(rank) + ".log")
          << "0:[[500.0, 100.0, 100.0, 100.0]]\n";
    }
  }
  const std::string array = folder.path() + "/trace.npy";
  const Result result = Ctl({"trace", "import", "smartmoe", folder.path(), "--out", array});
  EXPECT_EQ(result.code, kExitOk) << result.err;
  EXPECT_NE(result.out.find("4 steps, 1 layers, 1 microbatches, 2 sources, 4 experts"), std::string::npos)
      << result.out;
  return array;
}

// An .npy with these values, written as they are.
inline void WriteArray(const std::string& path, const std::string& dtype, const std::string& shape,
                       const std::string& values) {
  std::string header = "{'descr': '" + dtype + "', 'fortran_order': False, 'shape': " + shape + ", }";
  header.resize(117, ' ');
  std::ofstream(path, std::ios::binary) << std::string("\x93NUMPY\x01\x00\x76\x00", 10) << header << "\n"
                                        << values;
}

}  // namespace ballast
