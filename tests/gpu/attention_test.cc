#include "tests/gpu/operation_fixture.h"

namespace ballast {
namespace {

class Attention : public OperationTest {};
BALLAST_BOTH_TYPES(Attention);

const AttentionShape kShapes[] = {
    {.sequences = 1, .length = 1, .heads = 1, .key_value_heads = 1, .head_size = 2},
    {.sequences = 2, .length = 7, .heads = 6, .key_value_heads = 2, .head_size = 4},
    {.sequences = 3, .length = 33, .heads = 3, .key_value_heads = 1, .head_size = 10},
    {.sequences = 1, .length = 32, .heads = 4, .key_value_heads = 4, .head_size = 32},
    {.sequences = 2, .length = 100, .heads = 4, .key_value_heads = 2, .head_size = 64},
    {.sequences = 2, .length = 200, .heads = 8, .key_value_heads = 2, .head_size = 64},
    {.sequences = 1, .length = 130, .heads = 4, .key_value_heads = 1, .head_size = 96},
    {.sequences = 1, .length = 257, .heads = 2, .key_value_heads = 1, .head_size = 128},
    {.sequences = 1, .length = 65, .heads = 2, .key_value_heads = 2, .head_size = 192},
    {.sequences = 1, .length = 40, .heads = 1, .key_value_heads = 1, .head_size = 256},
    {.sequences = 0, .length = 7, .heads = 2, .key_value_heads = 1, .head_size = 4},
};

TEST_P(Attention, ForwardAndBackward) {
  for (const AttentionShape& s : kShapes) {
    Forget();
    SCOPED_TRACE(absl::StrCat(s.sequences, " sequences of ", s.length, ", ", s.heads, "/", s.key_value_heads,
                              " heads of ", s.head_size));
    const int64_t rows = s.sequences * s.length, width = s.heads * s.head_size,
                  shared = s.key_value_heads * s.head_size;
    Tensor &q = Random(rows, width), &k = Random(rows, shared), &v = Random(rows, shared);
    Tensor &out = Poisoned(rows, width), &pull = Random(rows, width);
    Tensor &dq = Poisoned(rows, width), &dk = Poisoned(rows, shared), &dv = Poisoned(rows, shared);
    Opaque saved = New([&](const Backend& backend) { return backend.AttentionSavedBytes(s); });
    if (device_->name() == "cuda") {
      EXPECT_EQ(saved.device.bytes(), static_cast<size_t>(s.sequences * s.heads * s.length) * sizeof(float));
    }
    Both([&](const Side& side) {
      side.backend.AttentionForward(side.stream, side(q), side(k), side(v), s, side(out), side(saved));
    });
    // On tensor cores a weight is two bfloat16, exact to 2^-18, and so is a score's gradient.
    ExpectNear(out, 0, bfloat16() ? 1e-5 : 5e-6, "out");
    Both([&](const Side& side) {
      side.backend.AttentionBackward(side.stream, side(q), side(k), side(v), side(out), s, side(saved),
                                     side(pull), side(dq), side(dk), side(dv));
    });
    // The backward takes the output as it was stored, rounded; so does the twin.
    const double absolute = bfloat16() ? 2e-2 : 1e-4;
    const double all = bfloat16() ? 6e-3 : 1e-5;
    for (auto& [gradient, name] : {std::pair<Tensor&, const char*>{dq, "q"}, {dk, "k"}, {dv, "v"}}) {
      ExpectNearOracle(gradient, 0, absolute, name);
      ExpectNearTwin(gradient, 0, 1e-4, name);
      if (s.length > 1) {
        EXPECT_LE(RelativeError(gradient), all) << name << ", seed " << seed_;
      }
    }
  }
}

// Scores far apart: no exponential overflows, and the late keys still count.
TEST_P(Attention, LargeScores) {
  const AttentionShape s{.sequences = 1, .length = 70, .heads = 2, .key_value_heads = 2, .head_size = 16};
  Tensor &q = Random(70, 32, 30), &k = Random(70, 32, 30), &v = Random(70, 32), &out = Poisoned(70, 32);
  Opaque saved = New([&](const Backend& backend) { return backend.AttentionSavedBytes(s); });
  Both([&](const Side& side) {
    side.backend.AttentionForward(side.stream, side(q), side(k), side(v), s, side(out), side(saved));
  });
  // Scores of size 4000 carry an error of some 1e-4 in float.
  ExpectNear(out, 0, 5e-3, "out");
}

TEST_P(Attention, TheFutureChangesNoBit) {
  const AttentionShape s{.sequences = 1, .length = 75, .heads = 2, .key_value_heads = 1, .head_size = 8};
  Tensor &q = Random(75, 16), &k = Random(75, 8), &v = Random(75, 8), &out = Poisoned(75, 16);
  Opaque saved = New([&](const Backend& backend) { return backend.AttentionSavedBytes(s); });
  auto run = [&] {
    Both([&](const Side& side) {
      side.backend.AttentionForward(side.stream, side(q), side(k), side(v), s, side(out), side(saved));
    });
    return out.found;
  };
  const std::vector<double> before = run();
  k.values[50 * 8] += 1;
  v.values[50 * 8] += 1;
  const std::vector<double> after = run();
  EXPECT_TRUE(std::equal(before.begin(), before.begin() + 50 * 16, after.begin()));
  EXPECT_NE(before, after);
}

}  // namespace
}  // namespace ballast
