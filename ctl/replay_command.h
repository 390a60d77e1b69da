// ballastctl replay and trace import: recorded loads; no coordinator is needed.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "ctl/context.h"
#include "replay/replay.h"

namespace ballast {

struct ReplayArguments {
  std::string loads;  // .npy
  std::string split = "exact";
  std::string costs;  // "" or "ring"
  std::string plans_out;
  std::string html;                  // a report; empty = none
  std::vector<std::string> compare;  // strategies that the report shows beside options.strategy
  RingCosts ring;
  ReplayOptions options;
};
absl::Status ReplayTrace(const Context& context, const ReplayArguments& arguments);

struct TraceImportArguments {
  std::string format;  // smartmoe
  std::string path;    // folder of tables, or a file of raw 16-bit values
  std::vector<int64_t> shape;
  std::string out;
};
absl::Status TraceImport(const Context& context, const TraceImportArguments& arguments);

}  // namespace ballast
