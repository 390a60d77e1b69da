// ballastctl job load, top and topology: what is measured of a job.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "ctl/context.h"

namespace ballast {

struct JobLoadArguments {
  std::string name;
  std::optional<int> layer;
  int64_t steps = 1;
};
// Assignments per layer and expert, and per layer and rank, of the last steps.
absl::Status JobLoad(const Context& context, const JobLoadArguments& arguments);

struct TopArguments {
  std::string name;
  bool once = false;
  double interval_s = 1;
};
// Ranks with the times of their last step, layers with their balance, links; again and again until the job
// has ended.
absl::Status Top(const Context& context, const TopArguments& arguments);

// Nodes of the job and what was measured between them.
absl::Status ShowTopology(const Context& context, const std::string& name);

}  // namespace ballast
