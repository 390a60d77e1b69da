// Plan files: what they change, what they leave, and what is refused.
#include "wire/plan_file.h"

#include <gtest/gtest.h>

#include "base/check.h"
#include "plan/contiguous.h"
#include "plan/validate.h"

namespace ballast {
namespace {

constexpr int kRanks = 3;
constexpr int kExperts = 4;

JobConfig Job() {
  JobConfig job;
  job.name = JobId("j");
  job.model.vocabulary_size = 16;
  job.model.hidden_size = 8;
  job.model.layers = 2;
  job.model.attention_heads = 2;
  job.model.key_value_heads = 2;
  job.model.head_size = 4;
  job.model.moe = {kExperts, 2, 8, 0, 0};
  job.placement.ranks = kRanks;
  job.placement.slots_per_rank = 3;
  job.placement.block_elements = 64;
  return job;
}

ParameterLayout Layout() { return *ParameterLayout::Make(Job().model, Job().placement.block_elements); }

// Layer 0 and 1: rank 0 {0}, rank 1 {1}, rank 2 {2, 3}.
PlanBody Base() {
  auto body = ContiguousPlan(Job(), Layout(), kRanks);
  BALLAST_CHECK_OK(body.status());
  return *body;
}

absl::StatusOr<PlanBody> Apply(const std::string& text, const PlanBody& base = Base()) {
  auto file = ReadPlanFile({"p.yaml", "base_version: 1\n" + text});
  if (!file.ok()) return file.status();
  auto body = ApplyPlanFile(file->file, base, Job());
  if (!body.ok()) return file->positions.Locate(body.status());
  return body;
}

std::string ErrorOf(const std::string& text) {
  auto body = Apply(text);
  return body.ok() ? "ok" : std::string(body.status().message());
}

std::vector<int> Experts(const PlanBody& body, int layer, int rank) {
  std::vector<int> out;
  for (const Slot& slot : body.layers[layer].slots[rank])
    out.push_back(slot.has_value() ? slot->value() : -1);
  return out;
}

TEST(PlanFile, TheShippedExampleIsRead) {
  auto source = ReadSourceFile(BALLAST_SOURCE_DIR "/deploy/examples/plan.yaml");
  ASSERT_TRUE(source.ok()) << source.status();
  auto file = ReadPlanFile(*source);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->file.base_version(), 1);
  EXPECT_EQ(file->file.layers(0).hosts(3).experts_size(), 3);
}

TEST(PlanFile, NamesNothingChangesNothing) {
  auto body = Apply("");
  ASSERT_TRUE(body.ok()) << body.status();
  EXPECT_TRUE(*body == Base());
}

TEST(PlanFile, OnlyNamedLayersAndBlocksChange) {
  const PlanBody base = Base();
  Rank other = base.homes[5] == Rank(0) ? Rank(1) : Rank(0);
  auto body = Apply(
      "reason: by hand\n"
      "layers:\n"
      "  - layer: 1\n"
      "    hosts: [[1, 0], [3, 1], [2]]\n"
      "    schedule: {all_to_all: two_level}\n"
      "homes:\n"
      "  - block: 5\n"
      "    rank: " +
      std::to_string(other.value()) + "\n");
  ASSERT_TRUE(body.ok()) << body.status();
  EXPECT_EQ(body->reason, "by hand");
  EXPECT_TRUE(body->layers[0] == base.layers[0]);
  // Experts that stay keep their index; new ones take the lowest free one.
  EXPECT_EQ(Experts(*body, 1, 0), (std::vector<int>{0, 1, -1}));
  EXPECT_EQ(Experts(*body, 1, 1), (std::vector<int>{1, 3, -1}));
  EXPECT_EQ(Experts(*body, 1, 2), (std::vector<int>{2, -1, -1}));
  EXPECT_EQ(body->layers[1].schedule.all_to_all, "two_level");
  EXPECT_EQ(body->layers[1].schedule.chunks, base.layers[1].schedule.chunks);
  for (size_t b = 0; b < base.homes.size(); ++b)
    EXPECT_EQ(body->homes[b], b == 5 ? other : base.homes[b]) << b;
}

TEST(PlanFile, FractionsFollowTheHostsOfTheFile) {
  auto body = Apply(
      "layers:\n"
      "  - layer: 0\n"
      "    hosts: [[3, 0], [1], [3, 2]]\n"
      "    split:\n"
      "      kind: fractions\n"
      "      fractions: [[16384, 65536], [65536], [49152, 65536]]\n");
  ASSERT_TRUE(body.ok()) << body.status();
  EXPECT_EQ(Experts(*body, 0, 0), (std::vector<int>{0, 3, -1}));
  EXPECT_EQ(Experts(*body, 0, 2), (std::vector<int>{2, 3, -1}));
  EXPECT_EQ(body->layers[0].split.kind, SplitKind::kFractions);
  EXPECT_EQ(body->layers[0].split.fractions[0], (std::vector<uint32_t>{65536, 16384, 0}));
  EXPECT_EQ(body->layers[0].split.fractions[2], (std::vector<uint32_t>{65536, 49152, 0}));
  // Other hosts make the table stale: the file must say what becomes of the split.
  auto stale = Apply("layers:\n  - layer: 0\n    hosts: [[0], [1], [2, 3]]\n", *body);
  EXPECT_EQ(stale.status().message(),
            "p.yaml:3:5: layers[0].split: found nothing, allowed a split: the base plan's fractions belong "
            "to its own slots");
}

TEST(PlanFile, WhatIsRefused) {
  EXPECT_EQ(ReadPlanFile({"p.yaml", "reason: x\n"}).status().message(),
            "p.yaml:1:1: base_version: found nothing, allowed 1..9223372036854775807 (the plan that the file "
            "changes)");
  const std::pair<const char*, const char*> cases[] = {
      {"version: 4\n",
       "p.yaml:2:1: version: unknown field; there are: base_version, not_before_step, reason, layers, homes"},
      {"not_before_step: -1\n", "p.yaml:2:1: not_before_step: found -1, allowed 0..9223372036854775807"},
      {"layers:\n  - hosts: []\n", "p.yaml:3:5: layers[0].layer: found nothing, allowed 0..2147483647"},
      {"layers:\n  - layer: 2\n", "p.yaml:3:5: layers[0].layer: found 2, allowed 0..1"},
      {"layers:\n  - layer: 0\n  - layer: 0\n",
       "p.yaml:4:5: layers[1].layer: found layer 0 a second time, allowed once"},
      {"layers:\n  - layer: 0\n    hosts: [[0, 1], [2, 3]]\n",
       "p.yaml:4:5: layers[0].hosts: found 2 lists, allowed 3 (one per rank)"},
      {"layers:\n  - layer: 0\n    hosts: [[0], [1], [2, 9]]\n",
       "p.yaml:4:27: layers[0].hosts[2][1]: found expert 9, allowed 0..3"},
      {"layers:\n  - layer: 0\n    hosts: [[0], [1], [2, -1]]\n",
       "p.yaml:4:27: layers[0].hosts[2][1]: found expert -1, allowed 0..3"},
      {"layers:\n  - layer: 0\n    hosts: [[0], [1, 1], [2, 3]]\n",
       "p.yaml:4:22: layers[0].hosts[1][1]: found expert 1 a second time, allowed once on a rank"},
      {"layers:\n  - layer: 0\n    hosts: [[0, 1, 2, 3], [], []]\n",
       "p.yaml:4:13: layers[0].hosts[0]: found 4 experts, allowed at most 3 (placement.slots_per_rank)"},
      {"layers:\n  - layer: 0\n    hosts: [[0], [1], [2]]\n",
       "p.yaml:4:5: layers[0].hosts: found no slot for expert 3, allowed at least one for each"},
      {"layers:\n  - layer: 0\n    schedule: {all_to_all: warp}\n",
       "p.yaml:4:16: layers[0].schedule.all_to_all: found warp, allowed direct, rails, two_level"},
      {"layers:\n  - layer: 0\n    schedule: {chunks: 0}\n",
       "p.yaml:4:16: layers[0].schedule.chunks: found 0, allowed 1..8"},
      {"layers:\n  - layer: 0\n    schedule: {combine_compressor: zip}\n",
       "p.yaml:4:16: layers[0].schedule.combine_compressor: found zip, allowed none, bf16"},
      {"layers:\n  - layer: 0\n    split: {}\n",
       "p.yaml:4:5: layers[0].split.kind: found nothing, allowed exact, fractions, even"},
      {"layers:\n  - layer: 0\n    split: {kind: fractions, fractions: [[1]]}\n",
       "p.yaml:4:30: layers[0].split.fractions: found a table without hosts, allowed one in the shape of "
       "hosts"},
      {"layers:\n  - layer: 0\n    hosts: [[0], [1], [2, 3]]\n    split: {kind: even, fractions: [[1], [1], "
       "[1, 1]]}\n",
       "p.yaml:5:25: layers[0].split.fractions: found a table, allowed none unless the kind is fractions"},
      {"layers:\n  - layer: 0\n    hosts: [[0], [1], [2, 3]]\n    split: {kind: fractions, fractions: [[1], "
       "[1], [1]]}\n",
       "p.yaml:5:52: layers[0].split.fractions[2]: found 1 numbers, allowed 2 (as in hosts)"},
      {"homes:\n  - block: 0\n", "p.yaml:3:5: homes[0].rank: found nothing, allowed 0..2147483647"},
      {"homes:\n  - block: 0\n    rank: 3\n", "p.yaml:4:5: homes[0].rank: found 3, allowed 0..2"},
      {"homes:\n  - block: 0\n    rank: 1\n  - block: 0\n    rank: 2\n",
       "p.yaml:5:5: homes[1].block: found block 0 a second time, allowed once"},
  };
  for (const auto& [text, error] : cases) EXPECT_EQ(ErrorOf(text), error) << text;
  std::string blocks = std::to_string(Layout().blocks().size());
  EXPECT_EQ(ErrorOf("homes:\n  - block: " + blocks + "\n    rank: 0\n"),
            "p.yaml:3:5: homes[0].block: found " + blocks + ", allowed 0.." +
                std::to_string(Layout().blocks().size() - 1));
  // What the plan's own validator finds is refused too: fractions that do not sum to one.
  std::string error = ErrorOf(
      "layers:\n  - layer: 0\n    hosts: [[0], [1], [2, 3]]\n    split: {kind: fractions, fractions: [[1], "
      "[1], [1, 1]]}\n");
  EXPECT_EQ(error, "p.yaml:5:30: layers[0].split.fractions: those of expert 0 sum to 1, allowed is 65536");
}

}  // namespace
}  // namespace ballast
