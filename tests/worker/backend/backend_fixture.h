// What the operation tests share: a backend of each type, random and poisoned values, and gradients by
// differences.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/rng.h"
#include "worker/backend/cpu/cpu_backend.h"

namespace ballast {

template <class T>
class BackendTest : public testing::Test {
 protected:
  BackendTest() {
    auto made = MakeCpuBackend(std::is_same_v<T, float> ? DType::kFloat32 : DType::kFloat64);
    if (!made.ok()) ADD_FAILURE() << made.status();
    backend_ = std::move(made).value();
    stream_ = backend_->NewStream();
  }

  // Normal values times `scale`.
  std::vector<T> Random(int64_t elements, double scale = 1) {
    std::vector<T> values(elements);
    for (T& value : values) value = static_cast<T>(rng_.Normal() * scale);
    return values;
  }
  // What an operation must overwrite without reading.
  static std::vector<T> Poisoned(int64_t elements) {
    return std::vector<T>(elements, std::numeric_limits<T>::quiet_NaN());
  }
  static Matrix View(std::vector<T>& values, int64_t rows, int64_t columns) {
    EXPECT_EQ(static_cast<int64_t>(values.size()), rows * columns);
    return {values.data(), rows, columns};
  }
  // Sums of some hundred terms of size 1 agree to this.
  static constexpr double kTolerance = std::is_same_v<T, float> ? 2e-5 : 1e-13;

  static void ExpectNear(const std::vector<T>& found, const std::vector<double>& expected,
                         double tolerance = kTolerance) {
    ASSERT_EQ(found.size(), expected.size());
    for (size_t i = 0; i < found.size(); ++i) {
      ASSERT_NEAR(found[i], expected[i], tolerance * (1 + std::abs(expected[i]))) << "element " << i << ", seed " << seed_;
    }
  }

  static constexpr uint64_t seed_ = 20240817;
  Rng rng_{seed_};
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Stream> stream_;
};

using CpuTypes = testing::Types<float, double>;

// In double, where differences are sharp enough to check gradients.
class GradientTest : public BackendTest<double> {
 protected:
  // d(loss)/d(values[i]) by central differences, for every i.
  static std::vector<double> Differences(std::vector<double>& values, const std::function<double()>& loss) {
    std::vector<double> gradient(values.size());
    for (size_t i = 0; i < values.size(); ++i) {
      const double at = values[i];
      const double step = 1e-5 * (1 + std::abs(at));
      values[i] = at + step;
      const double above = loss();
      values[i] = at - step;
      const double below = loss();
      values[i] = at;
      gradient[i] = (above - below) / (2 * step);
    }
    return gradient;
  }
  static double Dot(const std::vector<double>& x, const std::vector<double>& y) {
    EXPECT_EQ(x.size(), y.size());
    double sum = 0;
    for (size_t i = 0; i < x.size(); ++i) sum += x[i] * y[i];
    return sum;
  }
  static constexpr double kDifferenceTolerance = 1e-8;
};

}  // namespace ballast
