// The command line that the benchmarks of a MoE layer and of its parts have in common.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "bench/layer_case/layer_case.h"

namespace ballast::bench {

struct CaseOptions {
  LayerCase layer;  // --shape, --tokens, --routing
  int ranks = 2;
  int iterations = 10;
  int samples = 7;
  std::map<std::string, std::string> others;  // flags of the program's own, with their values
};

// `others`: the program's own flags, with the values that are allowed; the first is the default, and none at
// all allows any and has an empty default. InvalidArgument naming the flag, the value found and what is
// allowed.
absl::StatusOr<CaseOptions> ParseCaseOptions(int argc, char** argv,
                                             const std::map<std::string, std::vector<std::string>>& others);

// Seconds of a clock that only runs forward.
double NowSeconds();
double Median(std::vector<double> values);

}  // namespace ballast::bench
