// A job that runs through the real core on recorded loads: four workers that stage and switch at once, as the
// fence lets them. Which experts tokens choose does not depend on where the experts are, so that the loads of
// one run are those of every plan.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "coordinator/core.h"
#include "coordinator/memory_store.h"
#include "plan/job_config.h"
#include "replay/load_trace.h"

namespace ballast {

class LiveJob {
 public:
  // One rank per worker, and so many workers on a node; 0: all on one.
  explicit LiveJob(std::shared_ptr<const JobConfig> job, int ranks_per_node = 0);

  // What a rank's experts take in a step of so many rows, in seconds; empty: ranks report no times. A step
  // then takes the sum over layers of the busiest rank's share of that, and `rest_seconds`.
  std::function<double(int rank, int64_t rows)> expert_seconds;
  double rest_seconds = 0.05;
  // Traffic of a rank in a step, told with those times; may be empty.
  std::function<std::vector<LinkUse>(int rank)> links;

  // What so many tokens of a rank's sequence choose in a step, [layer][token][k]; asked for as the rule of
  // Assign says. Null: ranks tell nothing of their tokens.
  std::function<std::vector<uint16_t>(int64_t step, int rank, int tokens)> choices;
  // A look of the planner that is made aside is done so many steps later.
  int64_t plan_steps = 0;

  // The next step with these loads, [layer][expert]; it runs under the plan that is active by then.
  void Run(const std::vector<std::vector<int64_t>>& loads);
  // All rows of the recording.
  void RunAll(const LoadTrace& trace);

  const Core& core() const { return core_; }
  // Another coordinator that leads from the same store.
  std::unique_ptr<Core> NextLeader(std::vector<StepReport> loads = {});
  const JobId& name() const { return job_->name; }
  const TokenSampling& sampling() const { return sampling_; }  // as the ranks were told
  int64_t looks_aside() const { return looks_aside_; }
  int64_t looks_given_up() const { return looks_given_up_; }
  bool planning() const { return planning_ != nullptr; }
  // Pushes a copy of the active plan in which the first two ranks' first slots of layer 0 are exchanged.
  void PushExchange();
  // Of each step that ran: busiest rank / mean, mean over layers.
  const std::vector<double>& imbalance() const { return imbalance_; }
  double MeanImbalance(size_t from_step) const;
  // In balanced steps of a layer, summed over layers and steps: the busiest rank, and `sync_cost` for each
  // slot of much replicated experts; and `write_cost` for each slot write.
  double PredictedTotal(double sync_cost, double write_cost) const;
  int64_t slot_writes() const;

 private:
  void Feed(Event event);
  void FinishLook();
  void ReportTimes(StepReport& report);

  const std::shared_ptr<const JobConfig> job_;
  MemoryStore store_;
  Core core_;
  Term term_;
  int64_t milliseconds_ = 0;
  int64_t step_ = 0;
  PlanPtr active_;
  PlanPtr staged_;
  std::optional<int64_t> switch_step_;  // committed: active from here
  bool told_ = true;                    // that it is active
  TokenSampling sampling_;
  std::shared_ptr<const PlanTask> planning_;  // until plan_done_
  int64_t plan_done_ = 0;
  int64_t looks_aside_ = 0;
  int64_t looks_given_up_ = 0;
  std::vector<double> imbalance_;
  double sync_slots_ = 0;
};

}  // namespace ballast
