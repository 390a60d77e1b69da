#include "worker/model/gpt_moe.h"

#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/rng.h"
#include "base/status_macros.h"
#include "worker/model/attention_block.h"
#include "worker/model/language_head.h"
#include "worker/model/moe_block.h"

namespace ballast {
namespace {

// The first one counts.
void Note(StepFailure& failure, bool finite, FailureCause cause, ModelPart part, int layer = -1) {
  if (!finite && failure.cause == FailureCause::kNone) failure = {cause, part, layer};
}

absl::Status CheckConfig(const ModelConfig& config) {
  if (config.key_value_heads < 1 || config.attention_heads % config.key_value_heads != 0) {
    return absl::InvalidArgumentError(absl::StrCat("key_value_heads: found ", config.key_value_heads,
                                                   ", allowed are divisors of the ", config.attention_heads,
                                                   " attention heads"));
  }
  if (config.head_size < 2 || config.head_size % 2 != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("head_size: found ", config.head_size, ", allowed are even numbers (rotary embedding)"));
  }
  if (config.moe.top_k < 1 || config.moe.top_k > config.moe.experts) {
    return absl::InvalidArgumentError(absl::StrCat("moe.top_k: found ", config.moe.top_k, ", allowed 1..",
                                                   config.moe.experts, " (number of experts)"));
  }
  return absl::OkStatus();
}

// Buffers that are needed within one block alone; the layers share them.
struct Scratch {
  explicit Scratch(Backend& backend)
      : attention(backend),
        moe(backend),
        normed(backend, "scratch"),
        gradient(backend, "scratch"),
        all_to_all(backend) {}
  AttentionScratch attention;
  MoeScratch moe;
  GrowingBuffer normed;
  GrowingBuffer gradient;  // of the residual stream
  AllToAllScratch all_to_all;
};

// An attention block, and where its output goes.
struct AttentionPart {
  explicit AttentionPart(Backend& backend) : block(backend), middle_buffer(backend, "activations") {}
  AttentionBlock block;
  GrowingBuffer middle_buffer;
};

// Layers that are worked out again in the backward share the parts that keep activations.
struct Layer {
  Layer(std::shared_ptr<AttentionPart> attention, std::shared_ptr<MoeBlock> moe, Backend& backend)
      : attention(std::move(attention)), moe(std::move(moe)), in_buffer(backend, "activations") {}
  const std::shared_ptr<AttentionPart> attention;
  const std::shared_ptr<MoeBlock> moe;
  GrowingBuffer in_buffer;
  Matrix in, middle;  // the residual stream before each block, of the last forward
};

class GptMoeModel final : public GptMoe {
 public:
  GptMoeModel(const ModelConfig& config, DenseParameters parameters, Backend& backend, Recompute recompute)
      : config_(config),
        recompute_(recompute),
        parameters_(std::move(parameters)),
        backend_(backend),
        stream_(backend.NewStream()),
        scratch_(backend),
        inputs_buffer_(backend, "activations"),
        out_buffer_(backend, "activations"),
        head_(parameters_, backend) {
    layers_.reserve(config.layers);
    std::shared_ptr<AttentionPart> attention;
    std::shared_ptr<MoeBlock> moe;
    for (int i = 0; i < config.layers; ++i) {
      if (i == 0 || recompute != Recompute::kFull) attention = std::make_shared<AttentionPart>(backend);
      if (i == 0 || recompute == Recompute::kNone) {
        moe = std::make_shared<MoeBlock>(config, backend, scratch_.moe);
      }
      layers_.emplace_back(attention, moe, backend);
    }
  }

  absl::StatusOr<MicrobatchResult> Forward(const ModelStep& step, const Microbatch& microbatch) override;
  absl::StatusOr<MicrobatchResult> ForwardBackward(const ModelStep& step,
                                                   const Microbatch& microbatch) override;

 private:
  absl::Status Backward(const ModelStep& step, const Microbatch& microbatch);
  // Brings back the activations of a layer that later layers have overwritten.
  absl::Status ForwardAgain(const BlockContext& context, const MoeContext& moe, int layer);
  // Where the residual stream goes behind a layer.
  Matrix OutOf(int layer) const { return layer + 1 < config_.layers ? layers_[layer + 1].in : out_; }

  BlockContext Context(const ModelStep& step, const Microbatch& microbatch);
  // `slots` is filled and referred to by the context.
  MoeContext LayerContext(const ModelStep& step, const Microbatch& microbatch, int layer,
                          std::vector<ExpertTensors>& slots);
  // Has the sum of squares of x written to `squares` by the next synchronization; x is finite if that is.
  void Square(Matrix x, double& squares) { backend_.SumOfSquares(*stream_, x.data, x.elements(), &squares); }

  const ModelConfig config_;
  const Recompute recompute_;
  const DenseParameters parameters_;
  Backend& backend_;
  const std::unique_ptr<Stream> stream_;
  Scratch scratch_;
  std::vector<Layer> layers_;
  GrowingBuffer inputs_buffer_, out_buffer_;
  LanguageHead head_;
  // Of the last forward.
  int32_t* inputs_ = nullptr;  // on the device
  Matrix out_;                 // of the last layer
  // Of the embedding, then of each layer's output. Squares of floats do not overflow in double; those of
  // doubles beyond 1e154 do, which is as bad.
  std::vector<double> squares_;
};

absl::StatusOr<MicrobatchResult> GptMoeModel::Forward(const ModelStep& step, const Microbatch& microbatch) {
  if (step.behind != nullptr) backend_.RunBehind(*stream_, *step.behind);
  if (step.phases != nullptr) step.phases->On(*stream_);
  const PhaseScope phase(step.phases, Phase::kDenseForward);
  const int64_t tokens = microbatch.sequences * microbatch.length;
  BALLAST_CHECK(static_cast<int64_t>(microbatch.inputs.size()) == tokens &&
                static_cast<int64_t>(microbatch.targets.size()) == tokens);
  const BlockContext context = Context(step, microbatch);
  MicrobatchResult result;
  result.cross_entropy.assign(microbatch.sequences, 0);
  result.load_balance.assign(microbatch.sequences, 0);
  result.z_loss.assign(microbatch.sequences, 0);

  for (Layer& layer : layers_) {
    BALLAST_ASSIGN_OR_RETURN(layer.in, layer.in_buffer.Shape(tokens, config_.hidden_size));
    BALLAST_ASSIGN_OR_RETURN(layer.middle, layer.attention->middle_buffer.Shape(tokens, config_.hidden_size));
  }
  BALLAST_ASSIGN_OR_RETURN(out_, out_buffer_.Shape(tokens, config_.hidden_size));
  BALLAST_ASSIGN_OR_RETURN(inputs_, inputs_buffer_.Array<int32_t>(tokens));
  backend_.Copy(*stream_, inputs_, microbatch.inputs.data(), microbatch.inputs.size() * sizeof(int32_t));
  backend_.EmbeddingForward(*stream_, inputs_, step.parameters.weight(parameters_.embedding),
                            layers_.front().in);

  // Whether values are finite is looked at when all layers have run: the host is not to wait for each.
  squares_.assign(config_.layers + 1, 0);
  if (step.tap != nullptr) {
    BALLAST_CHECK(step.tap->first_row >= 0 && step.tap->first_row + step.tap->rows <= tokens);
    step.tap->chosen.assign(config_.layers * step.tap->rows * config_.moe.top_k, 0);
  }
  std::vector<char> losses_are_finite(config_.layers, true);
  Square(layers_.front().in, squares_[0]);

  for (int i = 0; i < config_.layers; ++i) {
    Layer& layer = layers_[i];
    const Matrix out = OutOf(i);
    const LayerParameters& parameters = parameters_.layers[i];
    std::vector<ExpertTensors> slots;
    MoeContext moe = LayerContext(step, microbatch, i, slots);
    if (step.tap != nullptr) {
      const int64_t choices = step.tap->rows * config_.moe.top_k;
      moe.chosen = {step.tap->chosen.data() + i * choices, step.tap->first_row, step.tap->rows};
    }
    BALLAST_RETURN_IF_ERROR(layer.attention->block.Forward(context, parameters, layer.in, layer.middle));
    BALLAST_ASSIGN_OR_RETURN(MoeResult routed,
                             layer.moe->Forward(context, parameters, moe, layer.middle, out));
    for (int64_t s = 0; s < microbatch.sequences; ++s) {
      if (!std::isfinite(routed.load_balance[s]) || !std::isfinite(routed.z_loss[s]))
        losses_are_finite[i] = false;
      result.load_balance[s] += routed.load_balance[s];
      result.z_loss[s] += routed.z_loss[s];
    }
    result.expert_tokens.push_back(std::move(routed.expert_tokens));
    result.rank_tokens.push_back(std::move(routed.rank_tokens));
    result.split_hash = HashSeed({result.split_hash, routed.split_hash});
    Square(out, squares_[i + 1]);
  }

  const double scale = step.global_tokens > 0 ? 1.0 / static_cast<double>(step.global_tokens) : 0;
  BALLAST_RETURN_IF_ERROR(step.communicator.Drain(*stream_, step.deadline));
  BALLAST_ASSIGN_OR_RETURN(const std::vector<double> row_loss,
                           head_.Forward(context, out_, microbatch.targets, scale));
  Note(result.failure, std::isfinite(squares_[0]), FailureCause::kActivation, ModelPart::kEmbedding);
  for (int i = 0; i < config_.layers; ++i) {
    Note(result.failure, std::isfinite(squares_[i + 1]), FailureCause::kActivation, ModelPart::kLayer, i);
    Note(result.failure, losses_are_finite[i], FailureCause::kLoss, ModelPart::kLayer, i);
  }
  for (int64_t row = 0; row < tokens; ++row) {
    result.cross_entropy[row / microbatch.length] += row_loss[row];
    Note(result.failure, std::isfinite(row_loss[row]), FailureCause::kLoss, ModelPart::kHead);
  }
  return result;
}

absl::StatusOr<MicrobatchResult> GptMoeModel::ForwardBackward(const ModelStep& step,
                                                              const Microbatch& microbatch) {
  BALLAST_ASSIGN_OR_RETURN(MicrobatchResult result, Forward(step, microbatch));
  BALLAST_RETURN_IF_ERROR(Backward(step, microbatch));
  BALLAST_RETURN_IF_ERROR(step.communicator.Drain(*stream_, step.deadline));
  BALLAST_RETURN_IF_ERROR(backend_.Synchronize(*stream_));
  return result;
}

absl::Status GptMoeModel::Backward(const ModelStep& step, const Microbatch& microbatch) {
  const PhaseScope phase(step.phases, Phase::kDenseBackward);
  const BlockContext context = Context(step, microbatch);
  BALLAST_ASSIGN_OR_RETURN(const Matrix gradient, scratch_.gradient.Shape(out_.rows, out_.columns));
  BALLAST_RETURN_IF_ERROR(head_.Backward(context, out_, gradient, scratch_.normed));
  for (int i = config_.layers - 1; i >= 0; --i) {
    std::vector<ExpertTensors> slots;
    const MoeContext moe = LayerContext(step, microbatch, i, slots);
    const LayerParameters& parameters = parameters_.layers[i];
    // The last layer's are still there.
    if (i + 1 < config_.layers) BALLAST_RETURN_IF_ERROR(ForwardAgain(context, moe, i));
    BALLAST_RETURN_IF_ERROR(
        layers_[i].moe->Backward(context, parameters, moe, layers_[i].middle, gradient, scratch_.normed));
    BALLAST_RETURN_IF_ERROR(layers_[i].attention->block.Backward(context, parameters, layers_[i].in, gradient,
                                                                 scratch_.attention));
  }
  backend_.EmbeddingBackward(*stream_, inputs_, gradient, step.parameters.gradient(parameters_.embedding));
  return absl::OkStatus();
}

absl::Status GptMoeModel::ForwardAgain(const BlockContext& context, const MoeContext& moe, int layer) {
  if (recompute_ == Recompute::kNone) return absl::OkStatus();
  Layer& again = layers_[layer];
  const LayerParameters& parameters = parameters_.layers[layer];
  if (recompute_ == Recompute::kFull) {
    BALLAST_RETURN_IF_ERROR(again.attention->block.Forward(context, parameters, again.in, again.middle));
  }
  // Writes over the next layer's input what is there already: the same operations on the same values.
  return again.moe->Forward(context, parameters, moe, again.middle, OutOf(layer)).status();
}

BlockContext GptMoeModel::Context(const ModelStep& step, const Microbatch& microbatch) {
  return {.config = config_,
          .backend = backend_,
          .stream = *stream_,
          .parameters = step.parameters,
          .shape = {.sequences = microbatch.sequences,
                    .length = microbatch.length,
                    .heads = config_.attention_heads,
                    .key_value_heads = config_.key_value_heads,
                    .head_size = config_.head_size}};
}

MoeContext GptMoeModel::LayerContext(const ModelStep& step, const Microbatch& microbatch, int layer,
                                     std::vector<ExpertTensors>& slots) {
  const LayerPlan& plan = step.plan.layers[layer];
  const std::vector<Slot>& filled = plan.slots[step.communicator.rank().index()];
  slots.resize(filled.size());
  for (size_t i = 0; i < filled.size(); ++i) {
    if (filled[i]) slots[i] = step.parameters.slot(LayerId(layer), static_cast<int>(i));
  }
  const int router = parameters_.layers[layer].router;
  return {.backend = backend_,
          .stream = *stream_,
          .communicator = step.communicator,
          .topology = step.topology,
          .deadline = step.deadline,
          .all_to_all_scratch = scratch_.all_to_all,
          .plan = plan,
          .speeds = step.plan.speeds,
          .router = step.parameters.weight(router),
          .router_gradient = step.parameters.gradient(router),
          .slots = slots,
          .first_gradients = microbatch.first_gradients,
          .sequences = microbatch.sequences,
          .global_sequences = step.global_sequences,
          .phases = step.phases};
}

}  // namespace

absl::StatusOr<std::unique_ptr<GptMoe>> GptMoe::Make(const ModelConfig& config, const ParameterLayout& layout,
                                                     Backend& backend, Recompute recompute) {
  BALLAST_RETURN_IF_ERROR(CheckConfig(config));
  BALLAST_ASSIGN_OR_RETURN(DenseParameters parameters, FindDenseParameters(config, layout));
  return std::make_unique<GptMoeModel>(config, std::move(parameters), backend, recompute);
}

}  // namespace ballast
