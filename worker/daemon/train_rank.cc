#include "worker/daemon/train_rank.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "plan/topology.h"
#include "worker/backend/cpu/cpu_backend.h"
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

absl::StatusOr<std::unique_ptr<Communicator>> Connect(const CpuRankOptions& options,
                                                      const RankContext& context,
                                                      RendezvousStore& rendezvous) {
  const Assign& assign = *context.assign;
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
                                          .fill_master = InitialWeights(job, layout, *backend)}));
  TrainResult result = trainer->Run();
  if (!result.status.ok()) return result.status;
  return RankResult{.step = result.last_step, .stopped = result.stopped};
}

}  // namespace

RankParts CpuRankParts(const CpuRankOptions& options) {
  return {.connect = [options](const RankContext& context,
                               RendezvousStore& rendezvous) { return Connect(options, context, rendezvous); },
          .train = [options](const RankContext& context,
                             Communicator& communicator) { return Train(options, context, communicator); }};
}

absl::Status CheckCpuMemory(const JobConfig& job, const ParameterLayout& layout,
                            const std::vector<const PlanBody*>& plans, const std::vector<Rank>& local_ranks,
                            size_t bytes_max) {
  const MemoryShape shape{.element_bytes = sizeof(float),
                          .master_bytes = sizeof(float),
                          .slots_per_rank = job.placement.slots_per_rank};
  // The sum of the ranks' peaks: they do not reach them at one moment, but nothing keeps them from it.
  MemoryUse sum;
  for (Rank rank : local_ranks) {
    const MemoryUse use = PeakMemory(layout, shape, plans, rank);
    sum.dense += use.dense;
    sum.slots += use.slots;
    sum.homes += use.homes;
    sum.windows += use.windows;
  }
  if (sum.total() <= bytes_max) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrCat(
      "memory: ", plans.size() > 1 ? "the switch to the plan" : "the plan", " needs ", sum.total(),
      " bytes for ", local_ranks.size(), " ranks here (dense weights ", sum.dense, ", expert slots ",
      sum.slots, ", homes ", sum.homes, ", transfers ", sum.windows, "), allowed are ", bytes_max));
}

}  // namespace ballast
