// ballastctl replay and trace import: recorded loads; no coordinator is needed.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "ctl/context.h"
#include "ctl/sequence_files.h"
#include "replay/replay.h"

namespace ballast {

struct ReplayArguments {
  std::string loads;  // .npy
  std::string split = "exact";
  std::string costs;   // "", "ring" or "home"
  std::string tokens;  // .npy of a co-activation sample; empty = none
  SequenceArguments sequences;
  std::string plans_out;
  std::string telemetry;             // .csv; empty = none
  std::string events_out;            // .jsonl
  std::string html;                  // a report; empty = none
  std::vector<std::string> compare;  // strategies that the report shows beside options.strategy
  ReplayCosts cost_figures;
  ReplayOptions options;
};
absl::Status ReplayTrace(const Context& context, const ReplayArguments& arguments);

struct TraceImportArguments {
  std::string format;  // smartmoe or megatron-jsonl
  std::string path;    // folder of tables or of .jsonl, a file of raw 16-bit values, or one .jsonl
  std::vector<int64_t> shape;
  std::string out;
  int experts = 0;         // megatron-jsonl: 0 = the highest that was chosen, plus one
  std::string tokens_out;  // megatron-jsonl: [token][k] of `tokens_layer`; empty = none
  int tokens_layer = 0;
};
absl::Status TraceImport(const Context& context, const TraceImportArguments& arguments);

}  // namespace ballast
