// The HTML page of `ballastctl replay --html`: self-contained, opened without a network.
#pragma once

#include <string>
#include <vector>

#include "replay/replay.h"

namespace ballast {

struct ReplayRun {
  std::string strategy;
  ReplayResult result;
};

// Runs of several strategies over one recording and with one set of options, side by side. At least one.
std::string ReplayReport(const std::string& loads, const ReplayOptions& options, const LoadTrace& trace,
                         const std::vector<ReplayRun>& runs);

}  // namespace ballast
