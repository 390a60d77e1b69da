#include "worker/daemon/rank_memory.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"
#include "plan/validate.h"
#include "worker/trainer/checkpoint_taker.h"
#include "worker/trainer/microbatches.h"

namespace ballast {
namespace {

// A checkpoint's buffers of one rank.
size_t CheckpointBytes(const JobConfig& job, const ParameterLayout& layout,
                       const std::vector<const PlanBody*>& plans, const ElementSizes& sizes, Rank rank) {
  size_t bytes = 0;
  if (job.checkpoint.path.empty()) return bytes;
  for (const PlanBody* plan : plans) {
    bytes = std::max(bytes, CheckpointTaker::BufferBytes(layout, *plan, *plan, rank, sizes.element_bytes,
                                                         sizes.master_bytes));
  }
  return bytes;
}

std::string Gib(size_t bytes) {
  const double gib = static_cast<double>(bytes) / static_cast<double>(size_t{1} << 30);
  return gib >= 0.1 ? absl::StrFormat("%.1f", gib) : absl::StrFormat("%.3g", gib);
}

// Parts of what the ranks compute with, and of what their host holds beside that.
std::string DeviceParts(const RankMemory& use) {
  std::string parts =
      absl::StrCat("dense weights ", Gib(use.state.dense), ", expert slots ", Gib(use.state.slots),
                   ", homes ", Gib(use.state.homes), ", transfers ", Gib(use.state.windows), ", activations ",
                   Gib(use.activations.activations), ", scratch ", Gib(use.activations.scratch),
                   ", all-to-all ", Gib(use.activations.exchange));
  if (use.fixed > 0) absl::StrAppend(&parts, ", device libraries ", Gib(use.fixed));
  return parts;
}
std::string HostParts(const RankMemory& use) {
  const std::string retained = absl::StrCat("kept between generations ", Gib(use.retained));
  if (use.checkpoints == 0) return retained;
  return absl::StrCat("checkpoints ", Gib(use.checkpoints), ", ", retained);
}

// What to lower, the largest part first.
std::string Advice(const JobConfig& job, const RankMemory& use) {
  std::vector<std::pair<size_t, std::string>> ways;
  std::vector<std::string> of_activations;
  if (job.training.microbatch_sequences > 1) {
    of_activations.push_back(
        absl::StrCat("training.microbatch_sequences (", job.training.microbatch_sequences, ")"));
  }
  if (job.training.recompute != Recompute::kFull) {
    of_activations.push_back(
        absl::StrCat("activations by training.recompute: ",
                     job.training.recompute == Recompute::kNone ? "moe or full" : "full"));
  }
  if (!of_activations.empty())
    ways.push_back({use.activations.total(), absl::StrJoin(of_activations, " or ")});
  ways.push_back({use.state.slots + use.state.windows,
                  absl::StrCat("placement.slots_per_rank (", job.placement.slots_per_rank, ")")});
  ways.push_back({use.state.homes, "each rank's share by more ranks"});
  std::sort(ways.begin(), ways.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
  return absl::StrCat("; lower ", absl::StrJoin(ways, ", ", [](std::string* out, const auto& way) {
                        out->append(way.second);
                      }));
}

// `needed` bytes of it, which are `parts`, are to be there.
absl::StatusOr<std::string> Check(const JobConfig& job, const RankMemory& use, size_t needed,
                                  const std::string& parts, size_t bytes_max, bool switches,
                                  const std::string& where) {
  if (needed > bytes_max) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "memory: ", switches ? "the switch to the plan" : "the plan", " needs ", needed, " bytes for ", where,
        " (in GiB: ", parts, "), allowed are ", bytes_max, Advice(job, use)));
  }
  return absl::StrCat(where, ": needs ", Gib(needed), " of ", Gib(bytes_max), " GiB: ", parts);
}

}  // namespace

RankMemory& RankMemory::operator+=(const RankMemory& other) {
  state += other.state;
  activations += other.activations;
  checkpoints += other.checkpoints;
  retained += other.retained;
  fixed += other.fixed;
  return *this;
}

RankMemory RankMemoryOf(const JobConfig& job, const ParameterLayout& layout,
                        const std::vector<const PlanBody*>& plans, Rank self, int node_ranks,
                        const RankDevice& device) {
  const DType compute = job.training.compute_dtype;
  const ElementSizes sizes{.element_bytes = DTypeBytes(compute), .master_bytes = sizeof(float)};
  const int ranks = static_cast<int>(plans.back()->speeds.size());
  bool two_level = false;
  for (const PlanBody* plan : plans) {
    for (const LayerPlan& layer : plan->layers) two_level |= layer.schedule.all_to_all != "direct";
  }
  const int64_t length = job.data.sequence_length;
  const AttentionShape attention{.sequences = MicrobatchTokens(job, ranks) / length,
                                 .length = length,
                                 .heads = job.model.attention_heads,
                                 .key_value_heads = job.model.key_value_heads,
                                 .head_size = job.model.head_size};
  const int64_t microbatches =
      PlanMicrobatches(job.training.global_batch_sequences, ranks, job.training.microbatch_sequences)
          .microbatches;
  RankMemory use;
  use.state = PeakMemory(layout,
                         {.sizes = sizes,
                          .slots_per_rank = job.placement.slots_per_rank,
                          .several_microbatches = microbatches > 1,
                          .window_bytes = WindowBytes(layout, LimitsFor(job, layout, ranks), sizes)},
                         plans, self);
  use.activations =
      ExpectedActivations(job, {.ranks = ranks,
                                .node_ranks = node_ranks,
                                .two_level = two_level,
                                .attention_saved_bytes = device.attention_saved_bytes(attention, compute)});
  use.checkpoints = CheckpointBytes(job, layout, plans, sizes, self);
  use.retained = RetainedBytes(layout, sizes, plans, self);
  use.fixed = device.fixed_bytes;
  return use;
}

absl::StatusOr<std::string> CheckRankMemory(const JobConfig& job, const ParameterLayout& layout,
                                            const std::vector<const PlanBody*>& plans,
                                            const std::vector<Rank>& local_ranks, const RankDevice& device,
                                            size_t host_bytes_max) {
  const bool on_host = device.bytes_by_rank.empty();
  const bool switches = plans.size() > 1;
  // The sum of the ranks' peaks: they do not reach them at one moment, but nothing keeps them from it.
  RankMemory sum;
  std::vector<std::string> needs;
  for (size_t i = 0; i < local_ranks.size(); ++i) {
    const RankMemory use =
        RankMemoryOf(job, layout, plans, local_ranks[i], static_cast<int>(local_ranks.size()), device);
    sum += use;
    if (on_host) continue;
    BALLAST_ASSIGN_OR_RETURN(
        std::string need, Check(job, use, use.on_device(), DeviceParts(use), device.bytes_by_rank[i],
                                switches, absl::StrCat("rank ", local_ranks[i].value(), " on its device")));
    needs.push_back(std::move(need));
  }
  // What is kept of one generation is there while the next one is set up, so nothing of it makes room.
  std::string parts = HostParts(sum);
  if (on_host) parts = absl::StrCat(DeviceParts(sum), ", ", parts);
  BALLAST_ASSIGN_OR_RETURN(
      std::string need,
      Check(job, sum, sum.in_host() + (on_host ? sum.on_device() : 0), parts, host_bytes_max, switches,
            absl::StrCat(local_ranks.size(), " ranks here", on_host ? "" : ", in the host's memory")));
  needs.push_back(std::move(need));
  return absl::StrJoin(needs, "; ");
}

}  // namespace ballast
