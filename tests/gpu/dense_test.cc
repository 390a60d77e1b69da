// RMSNorm, rotary embedding, token embedding and cross-entropy on the device.
#include "tests/gpu/operation_fixture.h"

namespace ballast {
namespace {

class Dense : public OperationTest {
 protected:
  Indices<int32_t>& Ids(int64_t n, int64_t below) {
    std::vector<int32_t> ids(n);
    for (int32_t& id : ids) id = static_cast<int32_t>(rng_.Below(below));
    return Of(ids);
  }
};
BALLAST_BOTH_TYPES(Dense);

struct Shape {
  int64_t rows, columns;
};
const Shape kShapes[] = {{1, 1}, {5, 13}, {3, 256}, {300, 64}, {129, 1000}, {2, 5001}, {0, 7}};

TEST_P(Dense, RmsNorm) {
  for (const Shape& s : kShapes) {
    Forget();
    SCOPED_TRACE(absl::StrCat(s.rows, " x ", s.columns));
    Tensor &x = Random(s.rows, s.columns), &weight = Random(1, s.columns);
    if (s.rows > 2) std::fill_n(x.values.begin() + 2 * s.columns, s.columns, 0.0);  // epsilon alone
    Tensor &out = Poisoned(s.rows, s.columns), &inverse = PoisonedDoubles(s.rows);
    const double epsilon = 1e-3;
    Both([&](const Side& side) {
      side.backend.RmsNormForward(side.stream, side(x), side.Data(weight), epsilon, side(out),
                                  side.Doubles(inverse));
    });
    ExpectNear(out, 2e-6, 0, "out");
    ExpectNear(inverse, 2e-6, 0, "inverse rms");

    Tensor &gradient = Random(s.rows, s.columns), &dx = Random(s.rows, s.columns), &dw = Random(1, s.columns);
    Both([&](const Side& side) {
      side.backend.RmsNormBackward(side.stream, side(x), side.Data(weight), side.Doubles(inverse),
                                   side(gradient), side(dx), side.Data(dw));
    });
    // A row of zeros has an inverse RMS of about 30.
    ExpectNear(dx, 1e-5, 1e-4, "x gradient");
    ExpectNear(dw, 1e-5, 1e-5 * std::sqrt(s.rows + 1), "weight gradient");
  }
}

TEST_P(Dense, RopeBothWays) {
  for (const AttentionShape& s :
       {AttentionShape{.sequences = 2, .length = 7, .heads = 6, .key_value_heads = 2, .head_size = 10},
        AttentionShape{.sequences = 1, .length = 4099, .heads = 1, .key_value_heads = 1, .head_size = 64},
        AttentionShape{.sequences = 0, .length = 7, .heads = 6, .key_value_heads = 2, .head_size = 2}}) {
    for (bool backward : {false, true}) {
      Tensor& x = Random(s.sequences * s.length, s.heads * s.head_size);
      Both([&](const Side& side) { side.backend.Rope(side.stream, side(x), s, s.heads, 10000, backward); });
      ExpectNear(x, 0, 2e-6, backward ? "backward" : "forward");
    }
  }
}

TEST_P(Dense, Embedding) {
  for (const Shape& s : kShapes) {
    for (int64_t vocabulary : {1, 3, 2000}) {
      Forget();
      SCOPED_TRACE(absl::StrCat(s.rows, " x ", s.columns, ", ", vocabulary, " ids"));
      Tensor &table = Random(vocabulary, s.columns), &out = Poisoned(s.rows, s.columns);
      Indices<int32_t>& ids = Ids(s.rows, vocabulary);
      Both([&](const Side& side) {
        side.backend.EmbeddingForward(side.stream, side(ids), side(table), side(out));
      });
      ExpectNear(out, 0, 0, "out");
      Tensor &gradient = Random(s.rows, s.columns), &table_gradient = Random(vocabulary, s.columns);
      Both([&](const Side& side) {
        side.backend.EmbeddingBackward(side.stream, side(ids), side(gradient), side(table_gradient));
      });
      ExpectNear(table_gradient, 1e-6, 1e-6 * std::sqrt(s.rows + 1) * 8, "table gradient");
    }
  }
}

TEST_P(Dense, CrossEntropyApartAndInPlace) {
  for (const Shape& s : kShapes) {
    for (bool in_place : {false, true}) {
      Forget();
      SCOPED_TRACE(absl::StrCat(s.rows, " x ", s.columns));
      Tensor& logits = Random(s.rows, s.columns, 3);
      Tensor& gradient = in_place ? logits : Poisoned(s.rows, s.columns);
      Tensor& loss = PoisonedDoubles(s.rows);
      Indices<int32_t>& targets = Ids(s.rows, s.columns);
      Both([&](const Side& side) {
        side.backend.CrossEntropy(side.stream, side(logits), side(targets), 0.25, side.Doubles(loss),
                                  side(gradient));
      });
      ExpectNear(gradient, 3e-6, 1e-7, "gradient");
      ExpectNear(loss, 1e-6, 1e-6, "loss");
    }
  }
}

}  // namespace
}  // namespace ballast
