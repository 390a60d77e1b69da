#include "worker/daemon/train_rank.h"

#include <algorithm>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/device_error.h"
#include "base/status_macros.h"
#include "plan/topology.h"
#include "plan/validate.h"
#include "worker/checkpoint/loader.h"
#include "worker/checkpoint/shared_path.h"
#include "worker/daemon/rank_memory.h"
#include "worker/trainer/dataset_batches.h"
#include "worker/trainer/trainer.h"

namespace ballast {
namespace {

Topology TopologyOf(const std::vector<Member>& members) {
  std::vector<std::string> nodes;
  for (const Member& member : members) nodes.push_back(member.node);
  return Topology::FromNodeNames(nodes);
}

// The checkpoint of the assignment, everything that this rank takes from it verified.
absl::StatusOr<std::shared_ptr<CheckpointLoader>> Load(const RankContext& context) {
  const Assign& assign = *context.assign;
  BALLAST_ASSIGN_OR_RETURN(ParameterLayout layout,
                           ParameterLayout::Make(assign.job->model, assign.job->placement.block_elements));
  BALLAST_ASSIGN_OR_RETURN(std::shared_ptr<CheckpointLoader> loader,
                           CheckpointLoader::Open({.directory = assign.checkpoint->directory,
                                                   .step = assign.checkpoint->step,
                                                   .model = assign.job->model,
                                                   .master_bytes = sizeof(float),
                                                   .self = context.rank,
                                                   .ranks = static_cast<int>(assign.members.size())},
                                                  std::move(layout)));
  const std::vector<Rank>& homes = assign.plan->body.homes;
  for (size_t block = 0; block < homes.size(); ++block) {
    if (homes[block] == context.rank)
      BALLAST_RETURN_IF_ERROR(loader->Verify(BlockId(static_cast<int>(block))));
  }
  return loader;
}

absl::StatusOr<std::unique_ptr<Communicator>> Connect(const RankOptions& options, const RankDevice& device,
                                                      RankContext& context, RendezvousStore& rendezvous) {
  const Assign& assign = *context.assign;
  // Before the ranks are connected: who cannot go on then says why before anybody loses it as a peer.
  if (!assign.job->checkpoint.path.empty()) {
    BALLAST_RETURN_IF_ERROR(
        ProveSharedPath(assign, context.rank, rendezvous, SteadyClock().Now() + options.rendezvous_timeout));
  }
  if (assign.checkpoint.has_value()) {
    BALLAST_ASSIGN_OR_RETURN(context.loader, Load(context));
  }
  absl::StatusOr<std::unique_ptr<Communicator>> communicator =
      device.connect(context, rendezvous, SteadyClock().Now() + options.rendezvous_timeout);
  if (!communicator.ok() && device.on_failure != nullptr) device.on_failure();
  return communicator;
}

absl::StatusOr<RankResult> Train(const RankOptions& options, const RankDevice& device, RankContext& context,
                                 Communicator& communicator) {
  const Assign& assign = *context.assign;
  const JobConfig& job = *assign.job;
  BALLAST_ASSIGN_OR_RETURN(ParameterLayout layout,
                           ParameterLayout::Make(job.model, job.placement.block_elements));
  BALLAST_ASSIGN_OR_RETURN(DatasetBatches batches, DatasetBatches::Open(job));
  BALLAST_ASSIGN_OR_RETURN(std::unique_ptr<Backend> backend,
                           device.make_backend(context.local_rank, job.training.compute_dtype));
  BALLAST_ASSIGN_OR_RETURN(std::unique_ptr<GptMoe> model,
                           GptMoe::Make(job.model, layout, *backend, job.training.recompute));
  SteadyClock clock;
  Optimizer::FillState fill = InitialWeights(job, layout, *backend);
  if (context.loader != nullptr) {
    fill = [loader = context.loader](BlockId block, void* state) { return loader->FillState(block, state); };
  }
  BALLAST_ASSIGN_OR_RETURN(std::unique_ptr<Trainer> trainer,
                           Trainer::Make({.job = assign.job,
                                          .plan = assign.plan,
                                          .start_step = assign.start_step,
                                          .topology = TopologyOf(assign.members),
                                          .exchange_timeout = options.exchange_timeout,
                                          .sampling = assign.sampling,
                                          .retained = context.retained.get()},
                                         {.layout = layout,
                                          .backend = *backend,
                                          .communicator = communicator,
                                          .model = *model,
                                          .batches = batches,
                                          .coordination = *context.coordination,
                                          .clock = clock,
                                          .fill_state = std::move(fill)}));
  context.retained = nullptr;  // the trainer has it
  TrainResult result = trainer->Run();
  if (result.resumable) {
    absl::StatusOr<RetainedRank> retained = trainer->Release();
    if (retained.ok()) context.retained = std::make_shared<const RetainedRank>(*std::move(retained));
  }
  if (!result.status.ok()) return result.status;
  return RankResult{.step = result.last_step, .stopped = result.stopped, .drained = result.drained};
}

// What `run` returns; Internal when the rank's device fails under it.
template <class Run>
std::invoke_result_t<Run> UnlessDeviceFails(const RankOptions& options, const Run& run) {
  try {
    return run();
  } catch (const DeviceError& error) {
    const std::string what = absl::StrCat("its device failed: ", error.what());
    if (options.on_device_error != nullptr) options.on_device_error(what);
    return absl::InternalError(what);
  }
}

}  // namespace

RankParts MakeRankParts(const RankOptions& options, const RankDevice& device) {
  return {.connect =
              [options, device](RankContext& context, RendezvousStore& rendezvous) {
                return UnlessDeviceFails(options,
                                         [&] { return Connect(options, device, context, rendezvous); });
              },
          .train =
              [options, device](RankContext& context, Communicator& communicator) {
                return UnlessDeviceFails(options, [&] {
                  absl::StatusOr<RankResult> result = Train(options, device, context, communicator);
                  if (!result.ok() && device.on_failure != nullptr) device.on_failure();
                  return result;
                });
              }};
}

absl::StatusOr<std::string> CheckRanks(const JobConfig& job, const ParameterLayout& layout,
                                       const std::vector<const PlanBody*>& plans,
                                       const std::vector<Rank>& local_ranks, const RankDevice& device,
                                       size_t host_bytes_max) {
  const DType compute = job.training.compute_dtype;
  if (std::find(device.compute_types.begin(), device.compute_types.end(), compute) ==
      device.compute_types.end()) {
    std::vector<std::string> names;
    for (DType type : device.compute_types) names.push_back(ToString(type));
    return absl::InvalidArgumentError(
        absl::StrCat("training.compute_dtype: found ", ToString(compute),
                     ", allowed on this worker's device: ", absl::StrJoin(names, ", ")));
  }
  const ElementSizes sizes{.element_bytes = DTypeBytes(compute), .master_bytes = sizeof(float)};
  const int ranks = static_cast<int>(plans.back()->speeds.size());
  const size_t window_bytes = WindowBytes(layout, LimitsFor(job, layout, ranks), sizes);
  for (Rank rank : local_ranks) {
    BALLAST_RETURN_IF_ERROR(CheckWindows(layout, sizes, plans, rank, window_bytes));
  }
  return CheckRankMemory(job, layout, plans, local_ranks, device, host_bytes_max);
}

}  // namespace ballast
