// The layer as part of a one-layer model: what must be equal bit for bit, and what travels.
#include "worker/moe/moe_layer.h"

#include <gtest/gtest.h>

#include "tests/worker/model/cluster.h"

namespace ballast {
namespace {

using Hosts = std::vector<std::vector<int>>;

ClusterJob JobOf(const Hosts& hosts, const std::vector<std::string>& nodes, DType dtype = DType::kFloat32,
                 const LayerSchedule& schedule = {}) {
  ClusterJob job;
  job.model = SmallModel(6, 2);
  job.model.layers = 1;
  job.plan = PlanOf(job.model, hosts, schedule);
  job.topology = Topology::FromNodeNames(nodes);
  job.dtype = dtype;
  job.weights = RandomWeights(job.model, 21);
  job.batch = RandomBatch(job.model, 7, 9, 22);
  return job;
}

ClusterResult MustRun(const ClusterJob& job) {
  ClusterResult result = RunCluster(job);
  for (const absl::Status& status : result.status) EXPECT_TRUE(status.ok()) << status;
  return result;
}

void ExpectSameBits(const ClusterResult& a, const ClusterResult& b) {
  EXPECT_EQ(a.cross_entropy, b.cross_entropy);
  EXPECT_EQ(a.load_balance, b.load_balance);
  EXPECT_EQ(a.z_loss, b.z_loss);
  EXPECT_EQ(a.gradients, b.gradients);
}

const std::vector<std::string> kOneNode = {"a", "a", "a", "a"};
const std::vector<std::string> kThreeAndOne = {"a", "a", "a", "b"};
const Hosts kContiguous = {{0, 1}, {2}, {3, 4}, {5}};

class EveryType : public testing::TestWithParam<DType> {};
INSTANTIATE_TEST_SUITE_P(All, EveryType, testing::Values(DType::kFloat32, DType::kFloat64));

TEST_P(EveryType, MovingSlotsChangesNoBit) {
  const ClusterResult base = MustRun(JobOf(kContiguous, kOneNode, GetParam()));
  for (const Hosts& hosts : {Hosts{{5, 4}, {3}, {2, 1}, {0}}, Hosts{{1, 0}, {-1, 2}, {4, -1, 3}, {5}},
                             Hosts{{0, 1, 2, 3, 4, 5}, {}, {}, {}}, Hosts{{}, {5, 3, 1}, {}, {4, 2, 0}}}) {
    ExpectSameBits(MustRun(JobOf(hosts, kOneNode, GetParam())), base);
  }
}

TEST_P(EveryType, EveryAllToAllEqualsDirectBitForBit) {
  for (const Hosts& hosts : {kContiguous, Hosts{{0, 1, 5}, {2, 5}, {3, 4, 5}, {5, 0}}}) {
    for (const std::vector<std::string>& nodes : {kThreeAndOne, std::vector<std::string>{"a", "a", "b", "b"},
                                                  std::vector<std::string>{"a", "b", "a", "c"}}) {
      for (const char* compressor : {"none", "bf16"}) {
        const LayerSchedule direct{
            .all_to_all = "direct", .dispatch_compressor = compressor, .combine_compressor = compressor};
        const ClusterResult base = MustRun(JobOf(hosts, nodes, GetParam(), direct));
        for (const char* all_to_all : {"rails", "two_level"}) {
          LayerSchedule other = direct;
          other.all_to_all = all_to_all;
          ExpectSameBits(MustRun(JobOf(hosts, nodes, GetParam(), other)), base);
        }
      }
    }
  }
}

TEST_P(EveryType, ChunksChangeNoBit) {
  const Hosts hosts = {{0, 1, 5}, {2, 5}, {3, 4, 5}, {5, 0}};
  const ClusterResult base = MustRun(JobOf(hosts, kOneNode, GetParam()));
  for (int chunks : {2, 3, 8}) {
    ExpectSameBits(MustRun(JobOf(hosts, kOneNode, GetParam(), {.chunks = chunks})), base);
  }
}

TEST_P(EveryType, ReplicasAgreeWithinRounding) {
  const ClusterResult base = MustRun(JobOf(kContiguous, kOneNode, GetParam()));
  const ClusterResult replicated =
      MustRun(JobOf({{0, 1, 5}, {2, 5, 0}, {3, 4, 5, 0}, {5, 0}}, kOneNode, GetParam()));
  const double tolerance = GetParam() == DType::kFloat32 ? 2e-5 : 1e-12;
  EXPECT_EQ(base.expert_tokens, replicated.expert_tokens);
  EXPECT_NE(base.rank_tokens, replicated.rank_tokens) << "the replicas took nothing over";
  for (size_t p = 0; p < base.gradients.size(); ++p) {
    for (size_t i = 0; i < base.gradients[p].size(); ++i) {
      ASSERT_NEAR(base.gradients[p][i], replicated.gradients[p][i], tolerance);
    }
  }
}

// bf16 on the wire rounds rows that stay on their rank, too: else a moved slot would change the result.
TEST_P(EveryType, MovingSlotsChangesNoBitUnderBf16Either) {
  const LayerSchedule schedule{.dispatch_compressor = "bf16", .combine_compressor = "bf16"};
  const ClusterResult base = MustRun(JobOf(kContiguous, kOneNode, GetParam(), schedule));
  ExpectSameBits(MustRun(JobOf({{5, 4}, {3}, {2, 1}, {0}}, kOneNode, GetParam(), schedule)), base);
  EXPECT_NE(base.cross_entropy, MustRun(JobOf(kContiguous, kOneNode, GetParam())).cross_entropy);
}

// With w2 = 0 every row that travels from host to source is zero, forward and backward, and zeros survive
// bf16.
TEST(MoeLayer, EachCompressorWorksInItsDirectionOfTravel) {
  auto run = [](const char* dispatch, const char* combine) {
    ClusterJob job = JobOf(kContiguous, kOneNode, DType::kFloat32,
                           {.dispatch_compressor = dispatch, .combine_compressor = combine});
    const ParameterLayout layout = LayoutOf(job.model);
    for (size_t p = 0; p < layout.parameters().size(); ++p) {
      if (layout.parameters()[p].name.ends_with("w2.weight")) job.weights[p].assign(job.weights[p].size(), 0);
    }
    return MustRun(job);
  };
  const ClusterResult base = run("none", "none");
  ExpectSameBits(run("none", "bf16"), base);
  EXPECT_NE(run("bf16", "none").gradients, base.gradients);
}

// Counts, dispatch and combine; then the same two backward.
TEST(MoeLayer, NeedsThreeCollectivesForwardAndTwoBackward) {
  for (int layers : {1, 3}) {
    ClusterJob job = JobOf(kContiguous, kOneNode);
    job.model.layers = layers;
    job.plan = PlanOf(job.model, kContiguous);
    job.weights = RandomWeights(job.model, 21);
    const ClusterResult training = MustRun(job);
    job.backward = false;
    const ClusterResult evaluation = MustRun(job);
    for (int r = 0; r < 4; ++r) {
      EXPECT_EQ(training.stats[r].operations, 5 * layers * training.microbatches);
      EXPECT_EQ(evaluation.stats[r].operations, 3 * layers * evaluation.microbatches);
    }
  }
}

TEST(MoeLayer, AnEvaluationHasTheLossesOfTraining) {
  ClusterJob job = JobOf(kContiguous, kThreeAndOne);
  const ClusterResult training = MustRun(job);
  job.backward = false;
  const ClusterResult evaluation = MustRun(job);
  EXPECT_EQ(evaluation.cross_entropy, training.cross_entropy);
  for (const auto& gradient : evaluation.gradients) {
    EXPECT_EQ(gradient, std::vector<double>(gradient.size(), 0));
  }
}

TEST(MoeLayer, AnUnknownAlgorithmOrAnExpertWithoutSlotIsAnError) {
  const ClusterResult unknown =
      RunCluster(JobOf(kContiguous, kOneNode, DType::kFloat32, {.all_to_all = "carrier_pigeon"}));
  const ClusterResult homeless = RunCluster(JobOf({{0, 1}, {2}, {3, 4}, {}}, kOneNode));
  for (int r = 0; r < 4; ++r) {
    EXPECT_EQ(unknown.status[r].code(), absl::StatusCode::kNotFound) << unknown.status[r];
    EXPECT_EQ(homeless.status[r].code(), absl::StatusCode::kInvalidArgument) << homeless.status[r];
  }
}

}  // namespace
}  // namespace ballast
