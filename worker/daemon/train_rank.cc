#include "worker/daemon/train_rank.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "plan/topology.h"
#include "plan/validate.h"
#include "worker/backend/cpu/cpu_backend.h"
#include "worker/checkpoint/loader.h"
#include "worker/checkpoint/shared_path.h"
#include "worker/comm/gloo_communicator.h"
#include "worker/optimizer/memory.h"
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

absl::StatusOr<std::unique_ptr<Communicator>> Connect(const CpuRankOptions& options, RankContext& context,
                                                      RendezvousStore& rendezvous) {
  const Assign& assign = *context.assign;
  const Time deadline = SteadyClock().Now() + options.rendezvous_timeout;
  // Before the ranks are connected: who cannot go on then says why before anybody loses it as a peer.
  if (!assign.job->checkpoint.path.empty())
    BALLAST_RETURN_IF_ERROR(ProveSharedPath(assign, context.rank, rendezvous, deadline));
  if (assign.checkpoint.has_value()) {
    BALLAST_ASSIGN_OR_RETURN(context.loader, Load(context));
  }
  return ConnectGloo({.rank = context.rank,
                      .size = static_cast<int>(assign.members.size()),
                      .generation = assign.stamp.generation,
                      .data_address = assign.members[context.rank.index()].data_address,
                      .deadline = SteadyClock().Now() + options.rendezvous_timeout},
                     rendezvous);
}

absl::StatusOr<RankResult> Train(const CpuRankOptions& options, const RankContext& context,
                                 Communicator& communicator) {
  const Assign& assign = *context.assign;
  const JobConfig& job = *assign.job;
  BALLAST_ASSIGN_OR_RETURN(ParameterLayout layout,
                           ParameterLayout::Make(job.model, job.placement.block_elements));
  BALLAST_ASSIGN_OR_RETURN(DatasetBatches batches, DatasetBatches::Open(job));
  BALLAST_ASSIGN_OR_RETURN(std::unique_ptr<Backend> backend, MakeCpuBackend(DType::kFloat32));
  BALLAST_ASSIGN_OR_RETURN(std::unique_ptr<GptMoe> model, GptMoe::Make(job.model, layout, *backend));
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
                                          .exchange_timeout = options.exchange_timeout},
                                         {.layout = layout,
                                          .backend = *backend,
                                          .communicator = communicator,
                                          .model = *model,
                                          .batches = batches,
                                          .coordination = *context.coordination,
                                          .clock = clock,
                                          .fill_state = std::move(fill)}));
  TrainResult result = trainer->Run();
  if (!result.status.ok()) return result.status;
  return RankResult{.step = result.last_step, .stopped = result.stopped};
}

}  // namespace

RankParts CpuRankParts(const CpuRankOptions& options) {
  return {.connect = [options](RankContext& context,
                               RendezvousStore& rendezvous) { return Connect(options, context, rendezvous); },
          .train = [options](const RankContext& context,
                             Communicator& communicator) { return Train(options, context, communicator); }};
}

absl::Status CheckCpuMemory(const JobConfig& job, const ParameterLayout& layout,
                            const std::vector<const PlanBody*>& plans, const std::vector<Rank>& local_ranks,
                            size_t bytes_max) {
  const ElementSizes sizes{.element_bytes = sizeof(float), .master_bytes = sizeof(float)};
  const int ranks = static_cast<int>(plans.back()->speeds.size());
  const size_t window_bytes = WindowBytes(layout, LimitsFor(job, layout, ranks), sizes);
  for (Rank rank : local_ranks) {
    BALLAST_RETURN_IF_ERROR(CheckWindows(layout, sizes, plans, rank, window_bytes));
  }
  const MemoryShape shape{
      .sizes = sizes, .slots_per_rank = job.placement.slots_per_rank, .window_bytes = window_bytes};
  // The sum of the ranks' peaks: they do not reach them at one moment, but nothing keeps them from it.
  MemoryUse sum;
  std::map<Rank, size_t> checkpoints;  // the buffers that they are written from
  for (Rank rank : local_ranks) {
    const MemoryUse use = PeakMemory(layout, shape, plans, rank);
    sum.dense += use.dense;
    sum.slots += use.slots;
    sum.homes += use.homes;
    sum.windows += use.windows;
    if (job.checkpoint.path.empty()) continue;
    for (const PlanBody* plan : plans) {
      checkpoints[rank] =
          std::max(checkpoints[rank],
                   CheckpointTaker::BufferBytes(layout, *plan, *plan, rank, sizeof(float), sizeof(float)));
    }
  }
  size_t buffers = 0;
  for (const auto& [rank, bytes] : checkpoints) buffers += bytes;
  const size_t needed = sum.total() + buffers;
  if (needed <= bytes_max) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat("memory: ", plans.size() > 1 ? "the switch to the plan" : "the plan", " needs ", needed,
                   " bytes for ", local_ranks.size(), " ranks here (dense weights ", sum.dense,
                   ", expert slots ", sum.slots, ", homes ", sum.homes, ", transfers ", sum.windows,
                   buffers > 0 ? absl::StrCat(", checkpoints ", buffers) : "", "), allowed are ", bytes_max));
}

}  // namespace ballast
