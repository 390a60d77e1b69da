// What a worker says a job needs, and what it says when that is more than there is.
#include "worker/daemon/rank_memory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "plan/contiguous.h"

namespace ballast {
namespace {

using testing::HasSubstr;

constexpr size_t kGib = size_t{1} << 30;

// About a billion parameters on two ranks.
JobConfig LargeJob() {
  JobConfig job;
  job.name = JobId("large");
  job.model.vocabulary_size = 32000;
  job.model.hidden_size = 1024;
  job.model.layers = 16;
  job.model.attention_heads = 16;
  job.model.key_value_heads = 4;
  job.model.head_size = 64;
  job.model.moe.experts = 8;
  job.model.moe.top_k = 2;
  job.model.moe.intermediate_size = 2816;
  job.data.sequence_length = 2048;
  job.training.steps = 10;
  job.training.global_batch_sequences = 64;
  job.training.microbatch_sequences = 8;
  job.training.compute_dtype = DType::kBFloat16;
  job.placement.ranks = 2;
  job.placement.slots_per_rank = 6;
  return job;
}

// Without the square of the sequence's length that the CPU keeps.
RankDevice Device(std::vector<size_t> bytes) {
  return {.make_backend = nullptr,
          .connect = nullptr,
          .compute_types = {DType::kBFloat16},
          .bytes_by_rank = std::move(bytes),
          .attention_saved_bytes =
              [](const AttentionShape& shape, DType) {
                return static_cast<size_t>(shape.sequences * shape.heads * shape.length) * sizeof(float);
              },
          .fixed_bytes = kGib};
}

struct Asked {
  ParameterLayout layout;
  PlanBody plan;
  explicit Asked(const JobConfig& job)
      : layout(ParameterLayout::Make(job.model, job.placement.block_elements).value()),
        plan(ContiguousPlan(job, layout, 2).value()) {}
};

absl::StatusOr<std::string> Check(const JobConfig& job, const RankDevice& device, size_t host_bytes) {
  const Asked asked(job);
  return CheckRankMemory(job, asked.layout, {&asked.plan}, {Rank(0), Rank(1)}, device, host_bytes);
}

RankMemory MemoryOf(const JobConfig& job, Rank rank = Rank(0)) {
  const Asked asked(job);
  return RankMemoryOf(job, asked.layout, {&asked.plan}, rank, 2, Device({}));
}

TEST(RankMemory, SaysWhatEachDeviceNeeds) {
  auto needs = Check(LargeJob(), Device({139 * kGib, 139 * kGib}), 20 * kGib);
  ASSERT_TRUE(needs.ok()) << needs.status();
  std::printf("%s\n", needs->c_str());
  for (const char* part :
       {"rank 0 on its device: needs ", "rank 1 on its device: needs ", " of 139.0 GiB: dense weights ",
        ", expert slots ", ", homes ", ", transfers ", ", activations ", ", scratch ", ", all-to-all ",
        ", device libraries 1.0", "2 ranks here, in the host's memory: needs ",
        " of 20.0 GiB: kept between generations "}) {
    EXPECT_THAT(*needs, HasSubstr(part));
  }
}

// 16 bytes for each parameter, float32 master weights, moments and gradients, whether there are
// checkpoints or not; the host must have them, also where the ranks compute on devices.
TEST(RankMemory, WhatIsKeptBetweenGenerationsIsTheHosts) {
  JobConfig job = LargeJob();
  const Asked asked(job);
  size_t kept = MemoryOf(job, Rank(0)).retained + MemoryOf(job, Rank(1)).retained;
  EXPECT_EQ(kept, size_t{16} * static_cast<size_t>(asked.layout.total_elements()));
  const RankDevice devices = Device({139 * kGib, 139 * kGib});
  EXPECT_TRUE(Check(job, devices, kept).ok());
  const absl::Status refused = Check(job, devices, kept - 1).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(refused.message(),
              HasSubstr(absl::StrCat("the plan needs ", kept,
                                     " bytes for 2 ranks here, in "
                                     "the host's memory (in GiB: kept between generations ")));
  job.checkpoint.path = "/shared";
  for (int r = 0; r < 2; ++r) kept += MemoryOf(job, Rank(r)).checkpoints;
  EXPECT_TRUE(Check(job, devices, kept).ok());
  EXPECT_FALSE(Check(job, devices, kept - 1).ok());
}

TEST(RankMemory, PartsAddUp) {
  const RankMemory use = MemoryOf(LargeJob());
  EXPECT_EQ(use.on_device(), use.state.total() + use.activations.activations + use.activations.scratch +
                                 use.activations.exchange + kGib);
  // 16384 tokens of 32000 logits alone; 16 layers of at least the experts' rows.
  EXPECT_GT(use.activations.activations, size_t{16384} * 32000 * 2 + size_t{16} * 16384 * 2 * 3 * 2816 * 2);
}

TEST(RankMemory, RefusesWithWhatToLowerTheLargestFirst) {
  JobConfig job = LargeJob();
  absl::Status refused = Check(job, Device({20 * kGib, 139 * kGib}), 20 * kGib).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
  std::printf("%s\n", refused.ToString().c_str());
  EXPECT_THAT(refused.message(), HasSubstr("memory: the plan needs "));
  EXPECT_THAT(refused.message(), HasSubstr("for rank 0 on its device"));
  EXPECT_THAT(refused.message(),
              HasSubstr("allowed are 21474836480; lower training.microbatch_sequences (8) or activations by "
                        "training.recompute: moe or full, "));

  job.training.microbatch_sequences = 1;
  job.training.recompute = Recompute::kFull;
  job.data.sequence_length = 64;
  refused = Check(job, Device({kGib, kGib}), kGib).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(refused.message(),
              HasSubstr("; lower each rank's share by more ranks, placement.slots_per_rank (6)"));
  EXPECT_THAT(refused.message(), testing::Not(HasSubstr("recompute")));
}

TEST(RankMemory, OnTheHostItIsTheSumOfTheRanks) {
  const JobConfig job = LargeJob();
  RankDevice host = Device({});
  host.fixed_bytes = 0;
  size_t needed = 0;
  for (int r = 0; r < 2; ++r) {
    const RankMemory use = MemoryOf(job, Rank(r));
    needed += use.on_device() - kGib + use.retained;
  }
  auto exact = Check(job, host, needed);
  ASSERT_TRUE(exact.ok()) << exact.status();
  EXPECT_THAT(*exact, HasSubstr("2 ranks here: needs "));
  EXPECT_EQ(Check(job, host, needed - 1).status().code(), absl::StatusCode::kResourceExhausted);
}

TEST(RankMemory, WorkingOutAgainNeedsLess) {
  JobConfig job = LargeJob();
  const size_t kept = MemoryOf(job).on_device();
  job.training.recompute = Recompute::kMoe;
  const size_t moe = MemoryOf(job).on_device();
  job.training.recompute = Recompute::kFull;
  const size_t full = MemoryOf(job).on_device();
  std::printf("%zu kept, %zu with moe, %zu with full\n", kept, moe, full);
  EXPECT_LT(moe, kept);
  EXPECT_LT(full, moe);
}

}  // namespace
}  // namespace ballast
