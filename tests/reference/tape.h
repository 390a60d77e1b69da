// Numbers that remember how they were made, so that gradients follow from the forward formulas alone
// (reverse-mode differentiation over single scalars). Slow and simple; for tests.
#pragma once

#include <cmath>
#include <vector>

namespace ballast::reference {

class Tape;

// One value of a computation; copies refer to the same value.
struct Scalar {
  double value = 0;
  int node = -1;  // on the tape; -1 for a constant
};

// Owns the history of one computation.
class Tape {
 public:
  // A value that gradients are asked for.
  Scalar Variable(double value) { return Record(value, -1, 0, -1, 0); }

  Scalar Add(Scalar x, Scalar y) { return Record(x.value + y.value, x.node, 1, y.node, 1); }
  Scalar Subtract(Scalar x, Scalar y) { return Record(x.value - y.value, x.node, 1, y.node, -1); }
  Scalar Multiply(Scalar x, Scalar y) { return Record(x.value * y.value, x.node, y.value, y.node, x.value); }
  Scalar Divide(Scalar x, Scalar y) {
    return Record(x.value / y.value, x.node, 1 / y.value, y.node, -x.value / (y.value * y.value));
  }
  Scalar Exp(Scalar x) { return Record(std::exp(x.value), x.node, std::exp(x.value), -1, 0); }
  Scalar Log(Scalar x) { return Record(std::log(x.value), x.node, 1 / x.value, -1, 0); }
  Scalar Sqrt(Scalar x) { return Record(std::sqrt(x.value), x.node, 0.5 / std::sqrt(x.value), -1, 0); }

  // d result / d v for every value v on the tape, by node.
  std::vector<double> Gradients(Scalar result) const {
    std::vector<double> gradient(nodes_.size(), 0);
    if (result.node >= 0) gradient[result.node] = 1;
    for (size_t i = nodes_.size(); i-- > 0;) {
      const Node& node = nodes_[i];
      if (node.left >= 0) gradient[node.left] += gradient[i] * node.left_slope;
      if (node.right >= 0) gradient[node.right] += gradient[i] * node.right_slope;
    }
    return gradient;
  }

 private:
  struct Node {
    int left, right;
    double left_slope, right_slope;
  };
  Scalar Record(double value, int left, double left_slope, int right, double right_slope) {
    nodes_.push_back({left, right, left_slope, right_slope});
    return {value, static_cast<int>(nodes_.size()) - 1};
  }
  std::vector<Node> nodes_;
};

}  // namespace ballast::reference
