// Router, load balance, permutation and combine on the device.
#include <set>

#include "tests/gpu/operation_fixture.h"

namespace ballast {
namespace {

class Moe : public OperationTest {};
BALLAST_BOTH_TYPES(Moe);

struct Shape {
  int64_t rows;
  int experts, top_k;
};
const Shape kShapes[] = {{11, 5, 1},  {11, 5, 5},   {1, 1, 1},     {130, 8, 2},   {64, 128, 8},
                         {33, 33, 3}, {9, 300, 16}, {130, 300, 2}, {5, 2048, 40}, {0, 8, 2}};

TEST_P(Moe, RouterForwardAndBackward) {
  for (const Shape& s : kShapes) {
    Forget();
    SCOPED_TRACE(absl::StrCat(s.rows, " rows, ", s.top_k, " of ", s.experts));
    Tensor &logits = Floats(s.rows, s.experts, 2), &probabilities = PoisonedFloats(s.rows, s.experts);
    Tensor &weights = PoisonedFloats(s.rows, s.top_k), &lse = PoisonedDoubles(s.rows);
    Indices<int32_t>& chosen = Of(std::vector<int32_t>(s.rows * s.top_k, -7));
    Both([&](const Side& side) {
      side.backend.RouterForward(side.stream, side(logits), s.top_k, side(probabilities), side(chosen),
                                 side(weights), side.Doubles(lse));
    });
    ExpectEqual(chosen, "experts");
    ExpectNear(probabilities, 1e-6, 1e-30, "probabilities");
    ExpectNear(weights, 1e-6, 0, "weights");
    ExpectNear(lse, 1e-12, 1e-12, "log-sum-exp");

    Round(probabilities);
    Round(weights);
    Tensor &dw = Floats(s.rows, s.top_k), &dp = Floats(s.rows, s.experts),
           &dl = PoisonedFloats(s.rows, s.experts);
    Both([&](const Side& side) {
      side.backend.RouterBackward(side.stream, side(probabilities), side(chosen), side(weights), side(dw),
                                  side(dp), side.Doubles(lse), 0.03, side(dl));
    });
    ExpectNear(dl, 1e-5, 1e-5, "logits gradient");
  }
}

TEST_P(Moe, TiesGoToTheLowestExpert) {
  Tensor& logits = Floats(2, 70);
  std::fill(logits.values.begin(), logits.values.end(), 0.0);
  logits.values[70 + 69] = 1;
  Tensor &probabilities = PoisonedFloats(2, 70), &weights = PoisonedFloats(2, 3), &lse = PoisonedDoubles(2);
  Indices<int32_t>& chosen = Of(std::vector<int32_t>(6, -7));
  Both([&](const Side& side) {
    side.backend.RouterForward(side.stream, side(logits), 3, side(probabilities), side(chosen), side(weights),
                               side.Doubles(lse));
  });
  EXPECT_EQ(chosen.found, (std::vector<int32_t>{0, 1, 2, 69, 0, 1}));
}

TEST_P(Moe, NonFiniteLogitsStillRouteInBounds) {
  const double nan = std::nan(""), infinity = std::numeric_limits<double>::infinity();
  Tensor& logits = Floats(4, 3);
  logits.values = {nan, 1, 2, nan, nan, nan, infinity, infinity, 0, -infinity, -infinity, -infinity};
  Tensor &probabilities = PoisonedFloats(4, 3), &weights = PoisonedFloats(4, 2), &lse = PoisonedDoubles(4);
  Indices<int32_t>& chosen = Of(std::vector<int32_t>(8, -7));
  Both([&](const Side& side) {
    side.backend.RouterForward(side.stream, side(logits), 2, side(probabilities), side(chosen), side(weights),
                               side.Doubles(lse));
  });
  for (int i = 0; i < 4; ++i) {
    EXPECT_NE(chosen.found[2 * i], chosen.found[2 * i + 1]);
    for (int k = 0; k < 2; ++k) {
      EXPECT_GE(chosen.found[2 * i + k], 0);
      EXPECT_LT(chosen.found[2 * i + k], 3);
    }
  }
}

TEST_P(Moe, LoadBalance) {
  for (const Shape& s : kShapes) {
    for (int64_t sequences : {int64_t{0}, int64_t{1}, s.rows}) {
      if ((sequences == 0) != (s.rows == 0)) continue;
      Forget();
      SCOPED_TRACE(
          absl::StrCat(s.rows, " rows, ", s.top_k, " of ", s.experts, ", ", sequences, " sequences"));
      Tensor &probabilities = Floats(s.rows, s.experts), &gradient = PoisonedFloats(s.rows, s.experts);
      Tensor& loss = PoisonedDoubles(sequences);
      std::vector<int32_t> experts(s.rows * s.top_k);
      for (int32_t& e : experts) e = static_cast<int32_t>(rng_.Below((s.experts + 1) / 2));  // some have none
      Indices<int32_t>& chosen = Of(experts);
      Both([&](const Side& side) {
        side.backend.LoadBalance(side.stream, side(probabilities), side(chosen), s.top_k, sequences, 0.7,
                                 side.Doubles(loss), side(gradient));
      });
      ExpectNear(loss, 1e-10, 1e-10, "loss");
      ExpectNear(gradient, 1e-6, 0, "gradient");
    }
  }
}

TEST_P(Moe, RouterLogitsAreSumsInFloat) {
  for (const Shape& s : kShapes) {
    for (int64_t hidden : {1, 7, 64, 258}) {
      Forget();
      SCOPED_TRACE(absl::StrCat(s.rows, " rows of ", hidden, ", ", s.experts, " experts"));
      Tensor &x = Random(s.rows, hidden), &weight = Random(s.experts, hidden);
      Tensor &logits = PoisonedFloats(s.rows, s.experts), &rounded = Poisoned(s.rows, s.experts);
      Both([&](const Side& side) {
        side.backend.RouterLogits(side.stream, side(x), side(weight), side(logits));
      });
      ExpectNear(logits, 0, 4e-6 * std::sqrt(hidden), "logits");
      Round(logits);
      Both([&](const Side& side) {
        side.backend.CastRouter(side.stream, side.Data(logits), s.rows * s.experts, side.Data(rounded));
      });
      ExpectNear(rounded, 0, 0, "rounded");
    }
  }
}

TEST_P(Moe, SortAssignments) {
  struct Case {
    int64_t tokens;
    int experts, top_k;
    bool one;  // all to one expert
  };
  for (const Case& c : {Case{0, 4, 2, false},
                        {1, 1, 1, false},
                        {700, 8, 2, false},
                        {700, 8, 2, true},
                        {33, 2048, 9, false},
                        {5000, 128, 8, false}}) {
    Forget();
    SCOPED_TRACE(
        absl::StrCat(c.tokens, " tokens, ", c.top_k, " of ", c.experts, c.one ? ", all to one" : ""));
    std::vector<int32_t> experts(c.tokens * c.top_k);
    for (int32_t& e : experts) e = c.one ? c.experts - 1 : static_cast<int32_t>(rng_.Below(c.experts));
    Indices<int32_t>& chosen = Of(experts);
    Indices<int64_t>&counts = Of(std::vector<int64_t>(c.experts, -7)),
    &token_of = Of(std::vector<int64_t>(experts.size(), -7)),
    &row_of = Of(std::vector<int64_t>(experts.size(), -7));
    Both([&](const Side& side) {
      side.backend.SortAssignments(side.stream, side(chosen), c.tokens, c.top_k, c.experts, side(counts),
                                   side(token_of), side(row_of));
    });
    ExpectEqual(counts, "counts");
    ExpectEqual(token_of, "tokens");
    ExpectEqual(row_of, "rows");
  }
}

TEST_P(Moe, MeanSquares) {
  for (auto [runs, length] : {std::pair<int64_t, int64_t>{0, 5}, {2, 0}, {1, 1}, {7, 1000}}) {
    Forget();
    Tensor &values = New(1, runs * length, DType::kFloat64), &out = PoisonedDoubles(runs);
    for (double& value : values.values) value = rng_.Normal();
    const int64_t count = runs, each = length;
    Both([&](const Side& side) {
      side.backend.MeanSquares(side.stream, side.Doubles(values), count, each, side.Doubles(out));
    });
    ExpectNear(out, 1e-12, 0, "means");
  }
}

// Row lengths that take 16, 4 and 2 bytes at a time.
const int64_t kColumns[] = {1, 7, 6, 64, 130, 513};

TEST_P(Moe, GatherRows) {
  for (int64_t columns : kColumns) {
    for (int64_t rows : {0, 1, 57}) {
      Forget();
      SCOPED_TRACE(absl::StrCat(rows, " x ", columns));
      Tensor &in = Random(rows, columns), &gathered = Poisoned(2 * rows, columns);
      std::vector<int64_t> from(2 * rows);
      for (int64_t& row : from) row = static_cast<int64_t>(rng_.Below(rows));
      Indices<int64_t>& index = Of(from);
      Both([&](const Side& side) {
        side.backend.GatherRows(side.stream, side(in), side(index), side(gathered));
      });
      ExpectNear(gathered, 0, 0, "gathered");
    }
  }
}

TEST_P(Moe, MoveRows) {
  for (int64_t columns : kColumns) {
    Forget();
    SCOPED_TRACE(absl::StrCat("of ", columns));
    const std::vector<int64_t> lengths = {3, 0, 1, 500, 17};
    Tensor &in = Random(521, columns), &out = Random(600, columns);
    std::vector<RowMove> moves;
    int64_t from = 0, to = 600;
    for (int64_t rows : lengths) {
      to -= rows + 5;
      moves.push_back({from, to, rows});
      from += rows;
    }
    Both([&](const Side& side) { side.backend.MoveRows(side.stream, side(in), moves, side(out)); });
    ExpectNear(out, 0, 0, "moved");
  }
}

TEST_P(Moe, CombineAndItsGradient) {
  for (int64_t columns : kColumns) {
    for (auto [tokens, top_k] : {std::pair<int64_t, int>{0, 2}, {1, 1}, {29, 8}, {40, 3}}) {
      Forget();
      SCOPED_TRACE(absl::StrCat(tokens, " tokens of ", columns, ", k ", top_k));
      Tensor &rows = Random(tokens * top_k, columns), &weights = Floats(tokens, top_k);
      Tensor &out = Poisoned(tokens, columns), &sums = Random(tokens, columns);
      Tensor &pull = Random(tokens, columns), &rows_gradient = Poisoned(tokens * top_k, columns),
             &weights_gradient = PoisonedFloats(tokens, top_k);
      Indices<int64_t>& row_of = Of(Permutation(tokens * top_k));
      const int k = top_k;
      Both([&](const Side& side) {
        side.backend.CombineForward(side.stream, side(rows), side(row_of), side(weights), side(out));
        side.backend.SumRows(side.stream, side(rows), side(row_of), k, side(sums));
        side.backend.CombineBackward(side.stream, side(rows), side(row_of), side(weights), side(pull),
                                     side(rows_gradient), side(weights_gradient));
      });
      ExpectNear(out, 0, 5e-6, "out");
      ExpectNear(sums, 0, 5e-6, "sums");
      ExpectNear(rows_gradient, 1e-6, 0, "rows gradient");
      ExpectNear(weights_gradient, 0, 1e-6 * std::sqrt(columns) * 4, "weights gradient");
    }
  }
}

}  // namespace
}  // namespace ballast
