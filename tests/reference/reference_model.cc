#include "tests/reference/reference_model.h"

#include <cmath>

#include "tests/reference/tape.h"

namespace ballast::reference {
namespace {

using Vector = std::vector<Scalar>;

class Model {
 public:
  Model(const Config& config, const Tensors& weights) : c_(config) {
    for (const auto& [name, values] : weights) {
      for (double value : values) weights_[name].push_back(tape_.Variable(value));
    }
  }

  Result Run(const Batch& batch) {
    Result result;
    result.expert_tokens.assign(c_.layers, std::vector<int64_t>(c_.experts, 0));
    Scalar loss;
    for (int s = 0; s < batch.sequences; ++s) {
      const int32_t* inputs = batch.inputs.data() + s * batch.length;
      const int32_t* targets = batch.targets.data() + s * batch.length;
      Scalar cross_entropy, load_balance, z_loss;
      std::vector<Vector> x;
      for (int i = 0; i < batch.length; ++i)
        x.push_back(Row("model.embed_tokens.weight", inputs[i], c_.hidden));
      for (int l = 0; l < c_.layers; ++l) {
        Attention(l, x);
        MixtureOfExperts(l, x, load_balance, z_loss, result.expert_tokens[l]);
      }
      for (int i = 0; i < batch.length; ++i) {
        const Vector logits = Linear("lm_head.weight", c_.vocabulary, Norm("model.norm.weight", x[i]));
        cross_entropy = tape_.Add(cross_entropy, tape_.Subtract(LogSumExp(logits), logits[targets[i]]));
      }
      result.cross_entropy.push_back(cross_entropy.value);
      result.load_balance.push_back(load_balance.value);
      result.z_loss.push_back(z_loss.value);
      const double tokens = static_cast<double>(batch.sequences) * batch.length;
      loss = tape_.Add(loss, Times(1 / tokens, cross_entropy));
      loss = tape_.Add(loss, Times(c_.load_balance_coefficient / batch.sequences, load_balance));
      loss = tape_.Add(loss, Times(c_.z_loss_coefficient / batch.sequences, z_loss));
    }
    result.loss = loss.value;
    const std::vector<double> gradients = tape_.Gradients(loss);
    for (const auto& [name, values] : weights_) {
      for (Scalar value : values) result.gradients[name].push_back(gradients[value.node]);
    }
    return result;
  }

 private:
  static std::string Name(int layer, const std::string& rest) {
    return "model.layers." + std::to_string(layer) + "." + rest;
  }
  Scalar Times(double factor, Scalar x) { return tape_.Multiply({factor, -1}, x); }
  Vector Row(const std::string& name, int row, int columns) {
    const Vector& all = weights_.at(name);
    return Vector(all.begin() + row * columns, all.begin() + (row + 1) * columns);
  }
  Scalar Dot(const Vector& x, const Vector& y) {
    Scalar sum;
    for (size_t i = 0; i < x.size(); ++i) sum = tape_.Add(sum, tape_.Multiply(x[i], y[i]));
    return sum;
  }
  // The weight is [out, in].
  Vector Linear(const std::string& name, int out, const Vector& x) {
    Vector y;
    for (int i = 0; i < out; ++i) y.push_back(Dot(Row(name, i, static_cast<int>(x.size())), x));
    return y;
  }
  Vector Norm(const std::string& name, const Vector& x) {
    const Scalar mean = Times(1.0 / static_cast<double>(x.size()), Dot(x, x));
    const Scalar rms = tape_.Sqrt(tape_.Add(mean, {c_.epsilon, -1}));
    Vector y;
    for (size_t i = 0; i < x.size(); ++i) {
      y.push_back(tape_.Multiply(weights_.at(name)[i], tape_.Divide(x[i], rms)));
    }
    return y;
  }
  Scalar LogSumExp(const Vector& x) {
    Scalar sum;
    for (Scalar value : x) sum = tape_.Add(sum, tape_.Exp(value));
    return tape_.Log(sum);
  }
  Vector Softmax(const Vector& x) {
    Scalar sum;
    for (Scalar value : x) sum = tape_.Add(sum, tape_.Exp(value));
    Vector y;
    for (Scalar value : x) y.push_back(tape_.Divide(tape_.Exp(value), sum));
    return y;
  }
  // The head's part of x, its halves turned against each other by the position.
  Vector Rotated(const Vector& x, int head, int position) {
    const int half = c_.head_size / 2;
    Vector y(c_.head_size);
    for (int i = 0; i < half; ++i) {
      const double angle = position / std::pow(c_.theta, 2.0 * i / c_.head_size);
      const Scalar low = x[head * c_.head_size + i], high = x[head * c_.head_size + i + half];
      y[i] = tape_.Subtract(Times(std::cos(angle), low), Times(std::sin(angle), high));
      y[i + half] = tape_.Add(Times(std::cos(angle), high), Times(std::sin(angle), low));
    }
    return y;
  }

  void Attention(int layer, std::vector<Vector>& x) {
    std::vector<Vector> query, key, value;
    for (const Vector& row : x) {
      const Vector normed = Norm(Name(layer, "input_layernorm.weight"), row);
      query.push_back(Linear(Name(layer, "self_attn.q_proj.weight"), c_.heads * c_.head_size, normed));
      key.push_back(
          Linear(Name(layer, "self_attn.k_proj.weight"), c_.key_value_heads * c_.head_size, normed));
      value.push_back(
          Linear(Name(layer, "self_attn.v_proj.weight"), c_.key_value_heads * c_.head_size, normed));
    }
    for (size_t i = 0; i < x.size(); ++i) {
      Vector mixed;
      for (int head = 0; head < c_.heads; ++head) {
        const int shared = head * c_.key_value_heads / c_.heads;
        Vector scores;
        for (size_t j = 0; j <= i; ++j) {
          const Scalar dot =
              Dot(Rotated(query[i], head, static_cast<int>(i)), Rotated(key[j], shared, static_cast<int>(j)));
          scores.push_back(Times(1 / std::sqrt(c_.head_size), dot));
        }
        const Vector attention = Softmax(scores);
        for (int d = 0; d < c_.head_size; ++d) {
          Scalar sum;
          for (size_t j = 0; j <= i; ++j) {
            sum = tape_.Add(sum, tape_.Multiply(attention[j], value[j][shared * c_.head_size + d]));
          }
          mixed.push_back(sum);
        }
      }
      const Vector out = Linear(Name(layer, "self_attn.o_proj.weight"), c_.hidden, mixed);
      for (int d = 0; d < c_.hidden; ++d) x[i][d] = tape_.Add(x[i][d], out[d]);
    }
  }

  void MixtureOfExperts(int layer, std::vector<Vector>& x, Scalar& load_balance, Scalar& z_loss,
                        std::vector<int64_t>& expert_tokens) {
    const double length = static_cast<double>(x.size());
    std::vector<double> routed(c_.experts, 0);
    Vector mass(c_.experts);
    for (Vector& row : x) {
      const Vector normed = Norm(Name(layer, "post_attention_layernorm.weight"), row);
      const Vector logits = Linear(Name(layer, "block_sparse_moe.gate.weight"), c_.experts, normed);
      const Vector probabilities = Softmax(logits);
      const Scalar lse = LogSumExp(logits);
      z_loss = tape_.Add(z_loss, Times(1 / length, tape_.Multiply(lse, lse)));

      std::vector<bool> taken(c_.experts, false);
      std::vector<int> chosen;
      Scalar kept;
      for (int k = 0; k < c_.top_k; ++k) {
        int best = -1;
        for (int e = 0; e < c_.experts; ++e) {
          if (!taken[e] && (best < 0 || probabilities[e].value > probabilities[best].value)) best = e;
        }
        taken[best] = true;
        chosen.push_back(best);
        kept = tape_.Add(kept, probabilities[best]);
      }
      for (int e : chosen) {
        routed[e] += 1;
        ++expert_tokens[e];
        const Vector out = Expert(layer, e, normed);
        const Scalar weight = tape_.Divide(probabilities[e], kept);
        for (int d = 0; d < c_.hidden; ++d) row[d] = tape_.Add(row[d], tape_.Multiply(weight, out[d]));
      }
      for (int e = 0; e < c_.experts; ++e) mass[e] = tape_.Add(mass[e], probabilities[e]);
    }
    for (int e = 0; e < c_.experts; ++e) {
      const double share = routed[e] / (length * c_.top_k);
      load_balance = tape_.Add(load_balance, Times(c_.experts * share / length, mass[e]));
    }
  }

  Vector Expert(int layer, int expert, const Vector& x) {
    const std::string prefix = "block_sparse_moe.experts." + std::to_string(expert) + ".";
    const Vector gate = Linear(Name(layer, prefix + "w1.weight"), c_.intermediate, x);
    const Vector up = Linear(Name(layer, prefix + "w3.weight"), c_.intermediate, x);
    Vector inner;
    for (int i = 0; i < c_.intermediate; ++i) {
      const Scalar silu = tape_.Divide(gate[i], tape_.Add({1, -1}, tape_.Exp(Times(-1, gate[i]))));
      inner.push_back(tape_.Multiply(silu, up[i]));
    }
    return Linear(Name(layer, prefix + "w2.weight"), c_.hidden, inner);
  }

  const Config c_;
  Tape tape_;
  std::map<std::string, Vector> weights_;
};

}  // namespace

Result Run(const Config& config, const Tensors& weights, const Batch& batch) {
  return Model(config, weights).Run(batch);
}

}  // namespace ballast::reference
