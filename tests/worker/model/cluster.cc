#include "tests/worker/model/cluster.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <limits>
#include <thread>

#include "base/check.h"
#include "base/math.h"
#include "base/rng.h"
#include "base/status_macros.h"
#include "worker/backend/cpu/cpu_backend.h"
#include "worker/comm/thread_communicator.h"
#include "worker/model/parameters.h"

namespace ballast {
namespace {

// All dense parameters and the plan's slots of one rank, in buffers of their own.
class HeldParameters final : public ModelParameters {
 public:
  HeldParameters(const ClusterJob& job, const ParameterLayout& layout, Rank rank, Backend& backend)
      : layout_(layout), backend_(backend) {
    const auto& parameters = layout.parameters();
    dense_.resize(parameters.size());
    for (size_t p = 0; p < parameters.size(); ++p) {
      if (!parameters[p].expert) dense_[p] = Hold(job, {static_cast<int>(p)}).front();
    }
    for (size_t l = 0; l < job.plan.layers.size(); ++l) {
      slots_.emplace_back();
      for (const Slot& slot : job.plan.layers[l].slots[rank.index()]) {
        slots_.back().emplace_back();
        if (!slot) continue;
        const int first = layout.ExpertParameter(LayerId(static_cast<int>(l)), *slot);
        slots_.back().back() = Hold(job, {first, first + 2, first + 1});
        // The first microbatch is to write them whatever they hold.
        for (const Held& held : slots_.back().back()) {
          const size_t elements = job.weights[held.parameter].size();
          for (size_t i = 0; job.backward && i < elements; ++i)
            Store(held.gradient, i, std::numeric_limits<double>::quiet_NaN());
        }
      }
    }
  }

  Matrix weight(int parameter) const override { return View(dense_[parameter], dense_[parameter].weight); }
  Matrix gradient(int parameter) const override {
    return View(dense_[parameter], dense_[parameter].gradient);
  }
  ExpertTensors slot(LayerId layer, int index) const override {
    const std::vector<Held>& held = slots_[layer.index()][index];
    BALLAST_CHECK(held.size() == 3) << "slot " << index << " is empty";
    auto gate_up = [&](void* w1) {
      const Matrix view = View(held[0], w1);
      return Matrix{w1, 2 * view.rows, view.columns};
    };
    return {.gate_up = gate_up(held[0].weight),
            .w2 = View(held[2], held[2].weight),
            .gate_up_gradient = gate_up(held[0].gradient),
            .w2_gradient = View(held[2], held[2].gradient)};
  }

  void AddGradients(ParameterValues& sum) const {
    auto add = [&](const Held& held) {
      for (size_t i = 0; i < sum[held.parameter].size(); ++i)
        sum[held.parameter][i] += Load(held.gradient, i);
    };
    for (const Held& held : dense_) {
      if (held.parameter >= 0) add(held);
    }
    for (const auto& layer : slots_) {
      for (const auto& slot : layer) {
        for (const Held& held : slot) add(held);
      }
    }
  }

 private:
  struct Held {
    int parameter = -1;
    void* weight = nullptr;
    void* gradient = nullptr;
  };

  // One behind the other in memory.
  std::vector<Held> Hold(const ClusterJob& job, const std::vector<int>& parameters) {
    size_t elements = 0;
    for (int parameter : parameters) elements += job.weights[parameter].size();
    buffers_.push_back(backend_.Allocate(elements * backend_.element_bytes(), "weights").value());
    char* weight = static_cast<char*>(buffers_.back().data());
    buffers_.push_back(backend_.Allocate(elements * backend_.element_bytes(), "gradients").value());
    char* gradient = static_cast<char*>(buffers_.back().data());
    std::vector<Held> all;
    for (int parameter : parameters) {
      const std::vector<double>& values = job.weights[parameter];
      all.push_back({parameter, weight, gradient});
      for (size_t i = 0; i < values.size(); ++i) Store(weight, i, values[i]);
      weight += values.size() * backend_.element_bytes();
      gradient += values.size() * backend_.element_bytes();
    }
    return all;
  }
  Matrix View(const Held& held, void* data) const {
    const Parameter& p = layout_.parameters()[held.parameter];
    return p.shape.size() == 1 ? Matrix{data, 1, p.shape[0]} : Matrix{data, p.shape[0], p.shape[1]};
  }
  bool is_float() const { return backend_.dtype() == DType::kFloat32; }
  void Store(void* to, size_t i, double value) const {
    if (is_float()) static_cast<float*>(to)[i] = static_cast<float>(value);
    if (!is_float()) static_cast<double*>(to)[i] = value;
  }
  double Load(const void* from, size_t i) const {
    return is_float() ? static_cast<const float*>(from)[i] : static_cast<const double*>(from)[i];
  }

  const ParameterLayout& layout_;
  Backend& backend_;
  std::vector<Buffer> buffers_;
  std::vector<Held> dense_;
  std::vector<std::vector<std::vector<Held>>> slots_;  // [layer][index]: none, or w1, w3, w2
};

Microbatch Cut(const Microbatch& all, int64_t first, int64_t sequences) {
  auto cut = [&](const std::vector<int32_t>& from) {
    return std::vector<int32_t>(from.begin() + first * all.length,
                                from.begin() + (first + sequences) * all.length);
  };
  return {sequences, all.length, cut(all.inputs), cut(all.targets)};
}

// One rank's part of the step; writes its own sequences' values and the parts of `result` that are by rank.
absl::Status RunRank(const ClusterJob& job, const ParameterLayout& layout, Communicator& communicator,
                     Backend& backend, HeldParameters& parameters, ClusterResult& result) {
  const Rank rank = communicator.rank();
  const int ranks = communicator.size();
  BALLAST_ASSIGN_OR_RETURN(auto model, GptMoe::Make(job.model, layout, backend));
  const ModelStep step{.plan = job.plan,
                       .topology = job.topology,
                       .communicator = communicator,
                       .parameters = parameters,
                       .deadline = SteadyClock().Now() + std::chrono::seconds(60),
                       .global_tokens = job.batch.sequences * job.batch.length,
                       .global_sequences = job.batch.sequences};
  const int64_t begin = PartBegin(job.batch.sequences, ranks, rank.value());
  const int64_t end = PartBegin(job.batch.sequences, ranks, rank.value() + 1);
  for (int m = 0; m < result.microbatches; ++m) {
    const int64_t first = std::min(end, begin + int64_t{m} * job.microbatch_sequences);
    const int64_t count = std::min<int64_t>(job.microbatch_sequences, end - first);
    Microbatch part = Cut(job.batch, first, count);
    part.first_gradients = m == 0;
    BALLAST_ASSIGN_OR_RETURN(const MicrobatchResult done,
                             job.backward ? model->ForwardBackward(step, part) : model->Forward(step, part));
    std::copy(done.cross_entropy.begin(), done.cross_entropy.end(), result.cross_entropy.begin() + first);
    std::copy(done.load_balance.begin(), done.load_balance.end(), result.load_balance.begin() + first);
    std::copy(done.z_loss.begin(), done.z_loss.end(), result.z_loss.begin() + first);
    result.split_hash[rank.index()] = HashSeed({result.split_hash[rank.index()], done.split_hash});
    StepFailure& failure = result.failure[rank.index()];
    if (failure.cause == FailureCause::kNone) failure = done.failure;
    if (rank != Rank(0)) continue;
    for (size_t l = 0; l < done.expert_tokens.size(); ++l) {
      for (size_t e = 0; e < done.expert_tokens[l].size(); ++e)
        result.expert_tokens[l][e] += done.expert_tokens[l][e];
      for (size_t r = 0; r < done.rank_tokens[l].size(); ++r)
        result.rank_tokens[l][r] += done.rank_tokens[l][r];
    }
  }
  return absl::OkStatus();
}

}  // namespace

ClusterResult RunCluster(const ClusterJob& job) {
  const int ranks = job.topology.ranks();
  const ParameterLayout layout = LayoutOf(job.model);
  ClusterResult result;
  result.status.resize(ranks);
  result.cross_entropy.resize(job.batch.sequences);
  result.load_balance.resize(job.batch.sequences);
  result.z_loss.resize(job.batch.sequences);
  result.expert_tokens.assign(job.model.layers, std::vector<int64_t>(job.model.moe.experts, 0));
  result.rank_tokens.assign(job.model.layers, std::vector<int64_t>(ranks, 0));
  result.split_hash.resize(ranks);
  result.failure.resize(ranks);
  result.stats.resize(ranks);
  result.microbatches =
      static_cast<int>(CeilDiv(CeilDiv(job.batch.sequences, ranks), job.microbatch_sequences));

  ThreadCommunicatorGroup group(ranks);
  std::vector<std::unique_ptr<Communicator>> communicators;
  std::vector<std::unique_ptr<Backend>> backends, wrapped;
  std::vector<std::unique_ptr<HeldParameters>> parameters;
  for (int r = 0; r < ranks; ++r) {
    communicators.push_back(group.Take(Rank(r)));
    backends.push_back(MakeCpuBackend(job.dtype).value());
    wrapped.push_back(job.wrap ? job.wrap(Rank(r), *backends[r]) : nullptr);
    parameters.push_back(std::make_unique<HeldParameters>(job, layout, Rank(r), *backends[r]));
  }
  std::vector<std::thread> threads;
  for (int r = 0; r < ranks; ++r) {
    threads.emplace_back([&, r] {
      Backend& backend = wrapped[r] ? *wrapped[r] : *backends[r];
      result.status[r] = RunRank(job, layout, *communicators[r], backend, *parameters[r], result);
      result.stats[r] = communicators[r]->stats();
      // The others must not wait for one that has given up.
      if (!result.status[r].ok()) group.Kill(Rank(r));
    });
  }
  for (std::thread& thread : threads) thread.join();

  for (const auto& values : job.weights) result.gradients.emplace_back(values.size(), 0);
  for (const auto& held : parameters) held->AddGradients(result.gradients);
  return result;
}

double LossOf(const ClusterJob& job, const ClusterResult& result) {
  double loss = 0;
  const double sequences = static_cast<double>(job.batch.sequences);
  for (int64_t s = 0; s < job.batch.sequences; ++s) {
    loss += result.cross_entropy[s] / (sequences * static_cast<double>(job.batch.length)) +
            job.model.moe.load_balance_coefficient * result.load_balance[s] / sequences +
            job.model.moe.z_loss_coefficient * result.z_loss[s] / sequences;
  }
  return loss;
}

ModelConfig SmallModel(int experts, int top_k) {
  return {.vocabulary_size = 11,
          .hidden_size = 10,
          .layers = 2,
          .attention_heads = 4,
          .key_value_heads = 2,
          .head_size = 6,
          .rope_theta = 50,
          .rms_norm_epsilon = 1e-3,
          .initializer_range = 0.4,
          .moe = {.experts = experts,
                  .top_k = top_k,
                  .intermediate_size = 7,
                  .load_balance_coefficient = 0.3,
                  .z_loss_coefficient = 0.05}};
}

ParameterLayout LayoutOf(const ModelConfig& model) { return ParameterLayout::Make(model, 1 << 20).value(); }

ParameterValues RandomWeights(const ModelConfig& model, uint64_t seed) {
  Rng rng(seed);
  ParameterValues values;
  const ParameterLayout layout = LayoutOf(model);
  for (const Parameter& p : layout.parameters()) {
    values.emplace_back();
    for (int64_t i = 0; i < p.elements; ++i) {
      // Rounded to float, so that both backends start from the same numbers.
      values.back().push_back(static_cast<float>((p.shape.size() == 1 ? 1 : 0) + 0.4 * rng.Normal()));
    }
  }
  return values;
}

Microbatch RandomBatch(const ModelConfig& model, int64_t sequences, int64_t length, uint64_t seed) {
  Rng rng(seed);
  Microbatch batch{sequences, length, {}, {}};
  for (int64_t i = 0; i < sequences * length; ++i) {
    batch.inputs.push_back(static_cast<int32_t>(rng.Below(model.vocabulary_size)));
    batch.targets.push_back(static_cast<int32_t>(rng.Below(model.vocabulary_size)));
  }
  return batch;
}

PlanBody PlanOf(const ModelConfig& model, const std::vector<std::vector<int>>& hosts,
                const LayerSchedule& schedule) {
  LayerPlan layer;
  layer.schedule = schedule;
  for (const std::vector<int>& experts : hosts) {
    layer.slots.emplace_back();
    for (int e : experts) layer.slots.back().push_back(e < 0 ? Slot() : Slot(ExpertId(e)));
  }
  PlanBody plan;
  plan.speeds.assign(hosts.size(), 1 << 16);
  plan.layers.assign(model.layers, layer);
  return plan;
}

}  // namespace ballast
