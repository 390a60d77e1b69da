#include <cstring>
#include <thread>

#include "tests/worker/backend/backend_fixture.h"
#include "worker/backend/cpu/blas.h"

namespace ballast {
namespace {

template <class T>
class MatmulTest : public BackendTest<T> {
 protected:
  enum class Form { kNT, kNN, kTN };
  struct Sizes {
    int64_t m, n, k;
  };

  void Run(Form form, Matrix a, Matrix b, Matrix c, bool accumulate) {
    if (form == Form::kNT) this->backend_->MatmulNT(*this->stream_, a, b, c, accumulate);
    if (form == Form::kNN) this->backend_->MatmulNN(*this->stream_, a, b, c, accumulate);
    if (form == Form::kTN) this->backend_->MatmulTN(*this->stream_, a, b, c, accumulate);
  }
  Matrix A(Form form, std::vector<T>& a, Sizes s) {
    return form == Form::kTN ? this->View(a, s.k, s.m) : this->View(a, s.m, s.k);
  }
  Matrix B(Form form, std::vector<T>& b, Sizes s) {
    return form == Form::kNT ? this->View(b, s.n, s.k) : this->View(b, s.k, s.n);
  }

  void CompareWithLoops(Form form, Sizes s, bool accumulate) {
    SCOPED_TRACE(testing::Message() << "form " << static_cast<int>(form) << " m " << s.m << " n " << s.n
                                    << " k " << s.k << " accumulate " << accumulate);
    std::vector<T> a = this->Random(s.m * s.k), b = this->Random(s.k * s.n);
    std::vector<T> c = accumulate ? this->Random(s.m * s.n) : this->Poisoned(s.m * s.n);
    std::vector<double> expected(c.size(), 0);
    for (int64_t i = 0; i < s.m; ++i) {
      for (int64_t j = 0; j < s.n; ++j) {
        double sum = accumulate ? c[i * s.n + j] : 0;
        for (int64_t p = 0; p < s.k; ++p) {
          sum += static_cast<double>(form == Form::kTN ? a[p * s.m + i] : a[i * s.k + p]) *
                 (form == Form::kNT ? b[j * s.k + p] : b[p * s.n + j]);
        }
        expected[i * s.n + j] = sum;
      }
    }
    Run(form, A(form, a, s), B(form, b, s), this->View(c, s.m, s.n), accumulate);
    this->ExpectNear(c, expected);
  }
};
TYPED_TEST_SUITE(MatmulTest, CpuTypes);

TYPED_TEST(MatmulTest, ABatchIsItsProducts) {
  std::vector<TypeParam> a = this->Random(6), b = this->Random(6), square = this->Random(4);
  std::vector<TypeParam> nt = this->Poisoned(4), nn = this->Poisoned(6), tn = this->Random(9);
  std::vector<TypeParam> nt_alone = nt, nn_alone = nn, tn_alone = tn;
  const Matrix a23 = this->View(a, 2, 3), b23 = this->View(b, 2, 3), s22 = this->View(square, 2, 2);
  const std::vector<MatmulTask> tasks = {
      {MatmulKind::kNT, a23, b23, this->View(nt, 2, 2)},
      {MatmulKind::kNN, s22, b23, this->View(nn, 2, 3)},
      {MatmulKind::kTN, a23, b23, this->View(tn, 3, 3), /*accumulate=*/true},
  };
  this->backend_->MatmulBatch(*this->stream_, tasks);
  this->backend_->MatmulNT(*this->stream_, a23, b23, this->View(nt_alone, 2, 2), false);
  this->backend_->MatmulNN(*this->stream_, s22, b23, this->View(nn_alone, 2, 3), false);
  this->backend_->MatmulTN(*this->stream_, a23, b23, this->View(tn_alone, 3, 3), true);
  EXPECT_EQ(nt, nt_alone);
  EXPECT_EQ(nn, nn_alone);
  EXPECT_EQ(tn, tn_alone);
}

TYPED_TEST(MatmulTest, AgreesWithLoopsOnOddAndEmptySizes) {
  using Form = typename TestFixture::Form;
  for (Form form : {Form::kNT, Form::kNN, Form::kTN}) {
    for (bool accumulate : {false, true}) {
      for (typename TestFixture::Sizes s : {typename TestFixture::Sizes{1, 1, 1},
                                            {7, 5, 3},
                                            {33, 17, 65},
                                            {1, 130, 31},
                                            {64, 1, 9},
                                            {0, 5, 3},
                                            {5, 0, 3},
                                            {5, 3, 0},
                                            {0, 0, 0},
                                            {129, 31, 48}}) {
        this->CompareWithLoops(form, s, accumulate);
      }
    }
  }
}

// An expert that moves to another slot has its rows and weights elsewhere in memory; not a bit may change.
TYPED_TEST(MatmulTest, PlaceInMemoryChangesNoBit) {
  using Form = typename TestFixture::Form;
  for (Form form : {Form::kNT, Form::kNN, Form::kTN}) {
    for (int64_t m : {1, 2, 3, 7, 33, 100}) {
      const typename TestFixture::Sizes s{m, 24, 40};
      std::vector<TypeParam> a = this->Random(s.m * s.k), b = this->Random(s.n * s.k),
                             start = this->Random(m * s.n);
      std::vector<TypeParam> first = start;
      this->Run(form, this->A(form, a, s), this->B(form, b, s), this->View(first, s.m, s.n), true);
      for (int shift = 1; shift < 17; ++shift) {
        std::vector<TypeParam> a2(shift), b2(2 * shift), c2(3 * shift);
        a2.insert(a2.end(), a.begin(), a.end());
        b2.insert(b2.end(), b.begin(), b.end());
        c2.insert(c2.end(), start.begin(), start.end());
        Matrix av = this->A(form, a, s), bv = this->B(form, b, s);
        av.data = a2.data() + shift;
        bv.data = b2.data() + 2 * shift;
        this->Run(form, av, bv, {c2.data() + 3 * shift, s.m, s.n}, true);
        ASSERT_EQ(std::memcmp(c2.data() + 3 * shift, first.data(), first.size() * sizeof(TypeParam)), 0)
            << "form " << static_cast<int>(form) << " m " << m << " shift " << shift;
      }
    }
  }
}

TYPED_TEST(MatmulTest, ThreadsAtOnceGetTheSameBits) {
  const typename TestFixture::Sizes s{65, 48, 96};
  std::vector<TypeParam> a = this->Random(s.m * s.k), b = this->Random(s.n * s.k);
  std::vector<std::vector<TypeParam>> c(4, std::vector<TypeParam>(s.m * s.n));
  std::vector<std::thread> threads;
  for (auto& mine : c) {
    threads.emplace_back([&] {
      auto stream = this->backend_->NewStream();
      for (int i = 0; i < 50; ++i) {
        this->backend_->MatmulNT(*stream, {a.data(), s.m, s.k}, {b.data(), s.n, s.k}, {mine.data(), s.m, s.n},
                                 false);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const auto& other : c) EXPECT_EQ(other, c[0]);
}

TEST(Blas, SaysWhichKernelsItUses) {
  ASSERT_TRUE(LoadBlas().ok()) << LoadBlas();
  EXPECT_FALSE(BlasKernels().empty());
  std::printf("OpenBLAS kernels: %s\n", BlasKernels().c_str());
#if defined(__x86_64__)
  if (std::getenv("OPENBLAS_CORETYPE") != nullptr && __builtin_cpu_supports("avx2")) {
    EXPECT_NE(BlasKernels(), "Prescott") << "the fallback for unknown processors";
  }
#endif
}

}  // namespace
}  // namespace ballast
