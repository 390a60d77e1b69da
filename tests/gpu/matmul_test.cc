#include "tests/gpu/operation_fixture.h"

namespace ballast {
namespace {

class Matmul : public OperationTest {
 protected:
  // Sums of k products of size 1 in float, in any order: the absolute part.
  static double SumTolerance(int64_t k) { return 4e-6 * std::sqrt(static_cast<double>(k)); }
  // The part relative to the sum. On the way to a large sum S the partial sums are of size S i/k, each
  // addition rounds by up to 2^-24 of one, and these roundings are independent: sqrt(k/9) 2^-24 |S| is their
  // deviation, and this is six of it (Higham and Mary, "A New Approach to Probabilistic Rounding Error
  // Analysis", 2019).
  static double SumRounding(int64_t k) { return 0x1p-23 * std::sqrt(static_cast<double>(k)); }
  void ExpectSum(const Tensor& out, int64_t k, const char* what) {
    ExpectNear(out, SumRounding(k), SumTolerance(k), what);
  }

  // An accumulated product may be rounded to the compute type by itself before it is added.
  void ExpectAccumulated(const Tensor& out, const std::vector<double>& before, int64_t k) {
    const double rounding = bfloat16() ? 0x1p-8 : 0x1p-24;
    for (size_t i = 0; i < before.size(); ++i) {
      const double product = std::abs(out.values[i] - before[i]);
      // The rounded product moves the sum, and with it what the sum's own rounding may be.
      const double allowed = rounding * (product + std::abs(out.values[i])) * (1 + rounding) +
                             SumRounding(k) * product + SumTolerance(k);
      ASSERT_LE(std::abs(out.found[i] - out.values[i]), allowed)
          << "element " << i << ", product " << product << ", seed " << seed_;
    }
  }
};
BALLAST_BOTH_TYPES(Matmul);

struct Sizes {
  int64_t m, n, k;
};
const Sizes kSizes[] = {{1, 1, 1},      {7, 5, 3},       {64, 32, 16}, {33, 17, 129}, {128, 256, 64},
                        {257, 96, 200}, {1, 200, 64},    {300, 1, 77}, {0, 5, 3},     {5, 0, 3},
                        {5, 3, 0},      {511, 258, 514}, {96, 4, 260}, {1024, 8, 512}};

TEST_P(Matmul, AgreesForEveryTransposition) {
  for (const Sizes& s : kSizes) {
    for (bool accumulate : {false, true}) {
      Forget();
      SCOPED_TRACE(absl::StrCat(s.m, " x ", s.n, " x ", s.k, accumulate ? " accumulated" : ""));
      auto out = [&]() -> Tensor& { return accumulate ? Random(s.m, s.n) : Poisoned(s.m, s.n); };
      Tensor &nt = out(), &nn = out(), &tn = out();
      Tensor &mk = Random(s.m, s.k), &nk = Random(s.n, s.k), &kn = Random(s.k, s.n), &km = Random(s.k, s.m);
      const std::vector<double> before[] = {nt.values, nn.values, tn.values};
      Both([&](const Side& side) {
        side.backend.MatmulNT(side.stream, side(mk), side(nk), side(nt), accumulate);
        side.backend.MatmulNN(side.stream, side(mk), side(kn), side(nn), accumulate);
        side.backend.MatmulTN(side.stream, side(km), side(kn), side(tn), accumulate);
      });
      for (Tensor* out : {&nt, &nn, &tn}) {
        if (accumulate) {
          ExpectAccumulated(*out, before[out == &nt ? 0 : out == &nn ? 1 : 2], s.k);
        } else {
          ExpectSum(*out, s.k, "product");
        }
      }
    }
  }
}

// Ragged groups, as of experts: a product has the same bits in every batch, also as the only one of it.
class Batches : public Matmul {
 protected:
  void ExpectSameBitsAlone(int64_t n, int64_t k, const std::vector<int64_t>& rows);
};
BALLAST_BOTH_TYPES(Batches);

void Batches::ExpectSameBitsAlone(int64_t n, int64_t k, const std::vector<int64_t>& rows) {
  Forget();
  SCOPED_TRACE(absl::StrCat(n, " x ", k));
  constexpr size_t kKinds = 4;
  std::vector<Tensor*> batched, alone;
  std::vector<std::vector<double>> weights;  // before their gradients are added
  struct Group {
    Tensor &a, &b, &pull;
  };
  std::vector<Group> groups;
  for (int64_t r : rows) groups.push_back({Random(r, k), Random(n, k), Random(r, n)});
  for (auto* outs : {&batched, &alone}) {
    for (int64_t r : rows) {
      outs->push_back(&Poisoned(r, n));
      outs->push_back(&Poisoned(r, k));
      outs->push_back(&Poisoned(n, k));
      Tensor& gradient = Random(n, k);
      if (outs == &alone) gradient.values = batched[outs->size()]->values;
      if (outs == &batched) weights.push_back(gradient.values);
      outs->push_back(&gradient);
    }
  }
  Both([&](const Side& side) {
    std::vector<MatmulTask> tasks;
    for (size_t i = 0; i < rows.size(); ++i) {
      const auto& [a, b, pull] = groups[i];
      Tensor* const* const out = batched.data() + kKinds * i;
      tasks.push_back({MatmulKind::kNT, side(a), side(b), side(*out[0])});
      tasks.push_back({MatmulKind::kNN, side(pull), side(b), side(*out[1])});
      tasks.push_back({MatmulKind::kTN, side(pull), side(a), side(*out[2])});
      tasks.push_back({MatmulKind::kTN, side(pull), side(a), side(*out[3]), true});
    }
    side.backend.MatmulBatch(side.stream, tasks);
    for (size_t i = 0; i < tasks.size(); ++i) {
      MatmulTask task = tasks[i];
      task.c = side(*alone[i]);
      side.backend.MatmulBatch(side.stream, {&task, 1});
    }
  });
  for (size_t i = 0; i < batched.size(); ++i) {
    EXPECT_EQ(batched[i]->found, alone[i]->found) << "product " << i << ", seed " << seed_;
  }
  for (size_t i = 0; i < rows.size(); ++i) {
    Tensor* const* const out = batched.data() + kKinds * i;
    ExpectSum(*out[0], k, "product");
    ExpectSum(*out[1], n, "input gradient");
    ExpectSum(*out[2], rows[i], "first gradient");
    ExpectAccumulated(*out[3], weights[i], rows[i]);
  }
}

TEST_P(Batches, HaveTheBitsOfTheirProducts) {
  ExpectSameBitsAlone(72, 40, {1, 33, 0, 300, 17, 64, 5, 129});
  ExpectSameBitsAlone(136, 264, {128, 0, 2, 127, 257});
  ExpectSameBitsAlone(768, 512, {256, 100, 1, 0, 300});
  // Widths that the launch for many does not take.
  ExpectSameBitsAlone(36, 22, {5, 0, 70});
  // More products than one launch holds.
  ExpectSameBitsAlone(16, 8, std::vector<int64_t>(200, 9));
}

// Matrices lie inside larger buffers: at row offsets of odd widths, and beside parameters of odd sizes.
TEST_P(Matmul, PlaceInMemoryChangesNoBit) {
  const int64_t m = 37, n = 24, k = 40;
  const size_t element = device_->element_bytes();
  Tensor &a = Random(m, k), &b = Random(n, k);
  const size_t bytes_a = m * k * element, bytes_b = n * k * element, bytes_c = m * n * element;
  for (size_t offset : {1, 3, 8}) {
    Buffer far = Allocate(bytes_a + bytes_b + bytes_c + 6 * 512);
    char* at_a = static_cast<char*>(far.data()) + offset * element;
    char* at_b = at_a + bytes_a + 512;
    char* at_c = at_b + bytes_b + 512;
    Tensor& start = Random(m, n);
    Tensor& result = Poisoned(m, n);
    Both([&](const Side& side) {
      if (!side.on_device) return;
      side.backend.Copy(side.stream, at_a, side.Data(a), bytes_a);
      side.backend.Copy(side.stream, at_b, side.Data(b), bytes_b);
      side.backend.Copy(side.stream, at_c, side.Data(start), bytes_c);
      side.backend.MatmulNT(side.stream, {at_a, m, k}, {at_b, n, k}, {at_c, m, n}, true);
      side.backend.Copy(side.stream, side.Data(result), at_c, bytes_c);
    });
    const std::vector<double> far_result = result.found;
    Tensor& aligned = Poisoned(m, n);
    Both([&](const Side& side) {
      if (!side.on_device) return;
      side.backend.Copy(side.stream, side.Data(aligned), side.Data(start), bytes_c);
      side.backend.MatmulNT(side.stream, side(a), side(b), side(aligned), true);
    });
    EXPECT_EQ(far_result, aligned.found) << "offset of " << offset << " elements";
  }
}

}  // namespace
}  // namespace ballast
