#include "worker/model/gpt_moe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "tests/worker/backend/forwarding_backend.h"
#include "tests/worker/model/cluster.h"
#include "worker/backend/cpu/cpu_backend.h"

namespace ballast {
namespace {

using testing::HasSubstr;

ClusterJob SmallJob(int ranks) {
  ClusterJob job;
  job.model = SmallModel(4, 2);
  std::vector<std::vector<int>> hosts(ranks);
  for (int e = 0; e < 4; ++e) hosts[e % ranks].push_back(e);
  job.plan = PlanOf(job.model, hosts);
  job.topology = Topology::OneNode(ranks);
  job.weights = RandomWeights(job.model, 31);
  job.batch = RandomBatch(job.model, 6, 5, 32);
  return job;
}

void ExpectNear(const ClusterResult& a, const ClusterResult& b, double tolerance) {
  for (size_t s = 0; s < a.cross_entropy.size(); ++s) {
    EXPECT_NEAR(a.cross_entropy[s], b.cross_entropy[s], tolerance);
    EXPECT_NEAR(a.load_balance[s], b.load_balance[s], tolerance);
    EXPECT_NEAR(a.z_loss[s], b.z_loss[s], tolerance);
  }
  for (size_t p = 0; p < a.gradients.size(); ++p) {
    for (size_t i = 0; i < a.gradients[p].size(); ++i) {
      ASSERT_NEAR(a.gradients[p][i], b.gradients[p][i], tolerance) << "parameter " << p << "[" << i << "]";
    }
  }
  EXPECT_EQ(a.expert_tokens, b.expert_tokens);
}

// Losses and gradients belong to the global batch; how it is cut is nobody's business.
TEST(GptMoe, RanksAndMicrobatchesChangeNothingButRounding) {
  const ClusterResult base = RunCluster(SmallJob(1));
  for (int ranks : {1, 2, 3, 4}) {
    for (int microbatch : {1, 2, 6}) {
      ClusterJob job = SmallJob(ranks);
      job.microbatch_sequences = microbatch;
      ExpectNear(RunCluster(job), base, 1e-12);
    }
  }
}

TEST(GptMoe, FloatAgreesWithDoubleWithinRounding) {
  ClusterJob job = SmallJob(3);
  const ClusterResult exact = RunCluster(job);
  job.dtype = DType::kFloat32;
  ExpectNear(RunCluster(job), exact, 2e-5);
}

TEST(GptMoe, NamesTheFirstPlaceThatIsNotFiniteAndWhatItIs) {
  ClusterJob job = SmallJob(2);
  const ParameterLayout layout = LayoutOf(job.model);
  auto break_parameter = [&](const std::string& name, double value = NAN) {
    ClusterJob broken = job;
    for (size_t p = 0; p < layout.parameters().size(); ++p) {
      if (layout.parameters()[p].name == name) broken.weights[p].assign(broken.weights[p].size(), value);
    }
    ClusterResult result = RunCluster(broken);
    for (const absl::Status& status : result.status) EXPECT_TRUE(status.ok()) << status;
    EXPECT_EQ(result.failure[0], result.failure[1]) << name;
    return result.failure[0];
  };
  using enum FailureCause;
  using enum ModelPart;
  for (const StepFailure& failure : RunCluster(job).failure) EXPECT_EQ(failure, StepFailure());
  EXPECT_EQ(break_parameter("model.embed_tokens.weight"), (StepFailure{kActivation, kEmbedding, -1}));
  EXPECT_EQ(break_parameter("model.layers.0.block_sparse_moe.gate.weight"),
            (StepFailure{kActivation, kLayer, 0}));
  EXPECT_EQ(break_parameter("model.layers.1.self_attn.o_proj.weight"), (StepFailure{kActivation, kLayer, 1}));
  // Logits that are large and finite: the experts compute on, but the square in the z-loss is too much.
  EXPECT_EQ(break_parameter("model.layers.1.block_sparse_moe.gate.weight", 1e200),
            (StepFailure{kLoss, kLayer, 1}));
  EXPECT_EQ(break_parameter("model.norm.weight"), (StepFailure{kLoss, kHead, -1}));
  EXPECT_EQ(break_parameter("lm_head.weight"), (StepFailure{kLoss, kHead, -1}));
}

// A backend whose last product fails to allocate is one rank giving up; the other one must come back with an
// error.
TEST(GptMoe, ALostPeerEndsAPassWithAStatus) {
  class Poor final : public ForwardingBackend {
   public:
    using ForwardingBackend::ForwardingBackend;
    absl::StatusOr<Buffer> Allocate(size_t bytes, const std::string& label) override {
      if (++allocations_ > 40) return absl::ResourceExhaustedError("no more");
      return to_.Allocate(bytes, label);
    }

   private:
    int allocations_ = 0;
  };
  ClusterJob job = SmallJob(2);
  job.wrap = [](Rank rank, Backend& to) -> std::unique_ptr<Backend> {
    if (rank == Rank(0)) return std::make_unique<ForwardingBackend>(to);
    return std::make_unique<Poor>(to);
  };
  const ClusterResult result = RunCluster(job);
  EXPECT_EQ(result.status[0].code(), absl::StatusCode::kUnavailable) << result.status[0];
  EXPECT_EQ(result.status[1].code(), absl::StatusCode::kResourceExhausted) << result.status[1];
}

TEST(GptMoe, AllocatesNothingOnceItHasSeenTheLargestMicrobatch) {
  class Counting final : public ForwardingBackend {
   public:
    Counting(Backend& to, std::vector<int>& counts) : ForwardingBackend(to), counts_(counts) {}
    absl::StatusOr<Buffer> Allocate(size_t bytes, const std::string& label) override {
      ++allocations_;
      return to_.Allocate(bytes, label);
    }
    void EmbeddingBackward(Stream& stream, const int32_t* ids, Matrix out_gradient,
                           Matrix table_gradient) override {
      to_.EmbeddingBackward(stream, ids, out_gradient, table_gradient);
      counts_.push_back(allocations_);  // the end of a pass
    }

   private:
    int allocations_ = 0;
    std::vector<int>& counts_;
  };
  ClusterJob job = SmallJob(1);
  job.microbatch_sequences = 2;
  std::vector<int> counts;
  job.wrap = [&](Rank, Backend& to) { return std::make_unique<Counting>(to, counts); };
  RunCluster(job);
  ASSERT_EQ(counts.size(), 3u);
  EXPECT_GT(counts[0], 0);
  EXPECT_EQ(counts[1], counts[0]);
  EXPECT_EQ(counts[2], counts[0]);
}

TEST(GptMoe, RefusesShapesItCannotHave) {
  auto backend = MakeCpuBackend(DType::kFloat32).value();
  auto refusal = [&](const ModelConfig& model) {
    return std::string(GptMoe::Make(model, LayoutOf(model), *backend).status().message());
  };
  ModelConfig model = SmallModel(4, 2);
  ASSERT_TRUE(GptMoe::Make(model, LayoutOf(model), *backend).ok());
  model.key_value_heads = 3;
  EXPECT_THAT(refusal(model), HasSubstr("key_value_heads: found 3"));
  model = SmallModel(4, 2);
  model.head_size = 5;
  EXPECT_THAT(refusal(model), HasSubstr("head_size: found 5"));
  model = SmallModel(4, 5);
  EXPECT_THAT(refusal(model), HasSubstr("moe.top_k: found 5, allowed 1..4"));

  ModelConfig other = SmallModel(4, 2);
  other.hidden_size = 12;
  EXPECT_THAT(std::string(GptMoe::Make(SmallModel(4, 2), LayoutOf(other), *backend).status().message()),
              HasSubstr("model.embed_tokens.weight: found shape [11, 12], allowed [11, 10]"));
  other = SmallModel(4, 2);
  other.layers = 1;
  EXPECT_THAT(std::string(GptMoe::Make(SmallModel(4, 2), LayoutOf(other), *backend).status().message()),
              HasSubstr("model.layers.1.input_layernorm.weight"));
}

}  // namespace
}  // namespace ballast
