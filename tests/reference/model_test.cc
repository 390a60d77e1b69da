// The model on 1, 3 and 4 ranks against the reference, and its gradients against differences.
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "base/rng.h"
#include "tests/reference/reference_model.h"
#include "tests/worker/model/cluster.h"
#include "tests/worker/model/replay_backend.h"

namespace ballast {
namespace {

struct Case {
  std::string name;
  int experts = 4;
  int top_k = 2;
  std::vector<std::vector<int>> hosts = {};
  std::vector<std::string> nodes = {};
  int64_t sequences = 5;
  int64_t length = 7;
  int microbatch_sequences = 2;
  LayerSchedule schedule = {};
  // Rewrites a router's weights [experts][hidden], to make it choose as the case wants.
  std::function<void(std::vector<double>&, int hidden)> router = {};
  // Expected assignments of one layer, where the case fixes them.
  std::function<void(const std::vector<int64_t>&)> check = {};
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

// Equal rows tie, and ties go to the lowest expert: with top-1, nobody but expert 0.
void AllToTheFirst(std::vector<double>& router, int hidden) {
  for (size_t i = hidden; i < router.size(); ++i) router[i] = router[i - hidden];
}
// Expert 2 ties with expert 1 and loses.
void ThirdLikeSecond(std::vector<double>& router, int hidden) {
  for (int i = 0; i < hidden; ++i) router[2 * hidden + i] = router[hidden + i];
}

std::vector<Case> Cases() {
  const std::vector<std::string> one = {"a"}, three = {"a", "a", "a"}, mixed = {"a", "a", "a", "b"};
  return {
      {.name = "OneRank", .hosts = {{0, 1, 2, 3}}, .nodes = one},
      {.name = "OneRankSingleExpert", .experts = 1, .top_k = 1, .hosts = {{0}}, .nodes = one},
      {.name = "ThreeRanks", .hosts = {{0, 3}, {2}, {1}}, .nodes = three},
      {.name = "EmptySlotsBetween", .hosts = {{-1, 3}, {2, -1, 0}, {1}}, .nodes = three},
      {.name = "Replicated", .hosts = {{0, 1}, {2, 1}, {3, 1}}, .nodes = three},
      {.name = "ThreePlusOneReplicas", .hosts = {{0, 1}, {0, 2}, {0, 3}, {0}}, .nodes = mixed},
      {.name = "TwoLevel",
       .hosts = {{0, 1}, {0, 2}, {3}, {0, 1}},
       .nodes = mixed,
       .schedule = {.all_to_all = "two_level"}},
      {.name = "Rails",
       .hosts = {{0, 1}, {0, 2}, {3}, {0, 1}},
       .nodes = mixed,
       .schedule = {.all_to_all = "rails"}},
      {.name = "Chunks", .hosts = {{0, 1, 2}, {2, 3}, {1, 0}}, .nodes = three, .schedule = {.chunks = 2}},
      {.name = "TopOne", .top_k = 1, .hosts = {{0, 3}, {2}, {1}}, .nodes = three},
      {.name = "TopAll", .top_k = 4, .hosts = {{0, 3}, {2}, {1, 0}}, .nodes = three},
      {.name = "EmptyExpert",
       .top_k = 1,
       .hosts = {{0, 3}, {2}, {1}},
       .nodes = three,
       .router = ThirdLikeSecond,
       .check = [](const std::vector<int64_t>& tokens) { EXPECT_EQ(tokens[2], 0); }},
      {.name = "OneExpertHasAllTokens",
       .top_k = 1,
       .hosts = {{0, 3}, {2, 0}, {1}},
       .nodes = three,
       .router = AllToTheFirst,
       .check =
           [](const std::vector<int64_t>& tokens) {
             EXPECT_EQ(tokens, (std::vector<int64_t>{35, 0, 0, 0}));
           }},
      {.name = "RanksWithoutRows", .hosts = {{0}, {1, 3}, {2}}, .nodes = three, .sequences = 1, .length = 3},
      {.name = "RankWithoutExperts", .hosts = {{0, 1, 2, 3}, {}, {}}, .nodes = three},
      {.name = "OneTokenSequences", .hosts = {{0, 3}, {2}, {1}}, .nodes = three, .length = 1},
      {.name = "UnevenMicrobatches",
       .hosts = {{0, 3}, {2}, {1}},
       .nodes = three,
       .sequences = 8,
       .microbatch_sequences = 1},
  };
}

ClusterJob JobOf(const Case& c) {
  ClusterJob job;
  job.model = SmallModel(c.experts, c.top_k);
  job.plan = PlanOf(job.model, c.hosts, c.schedule);
  job.topology = Topology::FromNodeNames(c.nodes);
  job.weights = RandomWeights(job.model, 11);
  job.batch = RandomBatch(job.model, c.sequences, c.length, 12);
  job.microbatch_sequences = c.microbatch_sequences;
  const ParameterLayout layout = LayoutOf(job.model);
  for (size_t p = 0; p < layout.parameters().size(); ++p) {
    if (c.router && layout.parameters()[p].name.ends_with("gate.weight")) {
      c.router(job.weights[p], job.model.hidden_size);
    }
  }
  return job;
}

reference::Result RunReference(const ClusterJob& job) {
  const ModelConfig& m = job.model;
  reference::Tensors weights;
  const ParameterLayout layout = LayoutOf(m);
  for (size_t p = 0; p < layout.parameters().size(); ++p)
    weights[layout.parameters()[p].name] = job.weights[p];
  return reference::Run({.vocabulary = m.vocabulary_size,
                         .hidden = m.hidden_size,
                         .layers = m.layers,
                         .heads = m.attention_heads,
                         .key_value_heads = m.key_value_heads,
                         .head_size = m.head_size,
                         .theta = m.rope_theta,
                         .epsilon = m.rms_norm_epsilon,
                         .experts = m.moe.experts,
                         .top_k = m.moe.top_k,
                         .intermediate = m.moe.intermediate_size,
                         .load_balance_coefficient = m.moe.load_balance_coefficient,
                         .z_loss_coefficient = m.moe.z_loss_coefficient},
                        weights,
                        {.sequences = static_cast<int>(job.batch.sequences),
                         .length = static_cast<int>(job.batch.length),
                         .inputs = job.batch.inputs,
                         .targets = job.batch.targets});
}

class ModelTest : public testing::TestWithParam<Case> {};
INSTANTIATE_TEST_SUITE_P(All, ModelTest, testing::ValuesIn(Cases()),
                         [](const auto& info) { return info.param.name; });

TEST_P(ModelTest, AgreesWithTheReference) {
  const ClusterJob job = JobOf(GetParam());
  const ClusterResult found = RunCluster(job);
  for (const absl::Status& status : found.status) ASSERT_TRUE(status.ok()) << status;
  const reference::Result expected = RunReference(job);

  EXPECT_NEAR(LossOf(job, found), expected.loss, 1e-12);
  for (int64_t s = 0; s < job.batch.sequences; ++s) {
    EXPECT_NEAR(found.cross_entropy[s], expected.cross_entropy[s], 1e-11);
    EXPECT_NEAR(found.load_balance[s], expected.load_balance[s], 1e-12);
    EXPECT_NEAR(found.z_loss[s], expected.z_loss[s], 1e-11);
  }
  EXPECT_EQ(found.expert_tokens, expected.expert_tokens);
  for (const auto& layer : found.expert_tokens) {
    if (GetParam().check) GetParam().check(layer);
  }
  // Nothing is dropped, and all ranks agree on the split.
  const int64_t assignments = job.batch.sequences * job.batch.length * job.model.moe.top_k;
  for (const auto& ranks : found.rank_tokens) {
    EXPECT_EQ(std::accumulate(ranks.begin(), ranks.end(), int64_t{0}), assignments);
  }
  for (uint64_t hash : found.split_hash) EXPECT_EQ(hash, found.split_hash[0]);

  const ParameterLayout layout = LayoutOf(job.model);
  double largest = 0;
  for (size_t p = 0; p < layout.parameters().size(); ++p) {
    const std::string& name = layout.parameters()[p].name;
    const std::vector<double>& gradient = expected.gradients.at(name);
    for (size_t i = 0; i < gradient.size(); ++i) {
      largest = std::max(largest, std::abs(gradient[i]));
      ASSERT_NEAR(found.gradients[p][i], gradient[i], 1e-12) << name << "[" << i << "]";
    }
  }
  EXPECT_GT(largest, 0.01) << "a comparison of zeros shows nothing";
}

TEST_P(ModelTest, GradientsAgreeWithDifferencesWhileRoutingIsHeld) {
  ClusterJob job = JobOf(GetParam());
  std::vector<RecordedChoices> choices(job.topology.ranks());
  job.wrap = [&](Rank rank, Backend& backend) {
    return std::make_unique<ReplayBackend>(backend, choices[rank.index()]);
  };
  const ClusterResult found = RunCluster(job);
  job.backward = false;
  auto loss = [&] {
    const ClusterResult result = RunCluster(job);
    for (const absl::Status& status : result.status) EXPECT_TRUE(status.ok()) << status;
    EXPECT_EQ(result.expert_tokens, found.expert_tokens);
    return LossOf(job, result);
  };

  constexpr uint64_t kSeed = 13;
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
  constexpr int kPerParameter = 1;  // ten times slower, and what they look for is in every pass
#else
  constexpr int kPerParameter = 3;
#endif
  Rng rng(kSeed);
  const ParameterLayout layout = LayoutOf(job.model);
  for (size_t p = 0; p < layout.parameters().size(); ++p) {
    for (int i = 0; i < kPerParameter; ++i) {
      const size_t element = rng.Below(job.weights[p].size());
      const double at = job.weights[p][element];
      constexpr double kStep = 1e-5;
      job.weights[p][element] = at + kStep;
      const double above = loss();
      job.weights[p][element] = at - kStep;
      const double below = loss();
      job.weights[p][element] = at;
      ASSERT_NEAR(found.gradients[p][element], (above - below) / (2 * kStep), 2e-9)
          << layout.parameters()[p].name << "[" << element << "], seed " << kSeed;
    }
  }
}

}  // namespace
}  // namespace ballast
