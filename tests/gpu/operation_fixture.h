// Operations of the CUDA backend beside the CPU backend in double, which is the oracle.
//
// Inputs are fresh random numbers that the compute type holds exactly, so the two differ by the device's sums
// in float and by its one rounding where it stores. Every operation runs twice on the device from the same
// state, and the two must agree bit for bit.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <deque>
#include <functional>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/rng.h"
#include "tests/gpu/plugin_fixture.h"
#include "worker/backend/cpu/cpu_backend.h"

namespace ballast {

// A matrix on both sides: doubles on the host, the compute type (or double) on the device.
struct Tensor {
  int64_t rows = 0;
  int64_t columns = 0;
  std::vector<double> values;  // the oracle's
  std::vector<double> found;   // the device's after an operation
  DType dtype = DType::kFloat64;
  Buffer device;
};

// Integers, the same on both sides.
template <class Int>
struct Indices {
  std::vector<Int> values;
  std::vector<Int> found;
  Buffer device;
};

// Where one run of an operation finds its operands.
struct Side {
  Backend& backend;
  Stream& stream;
  bool on_device;
  Matrix operator()(Tensor& t) const { return {Data(t), t.rows, t.columns}; }
  void* Data(Tensor& t) const { return on_device ? t.device.data() : t.values.data(); }
  // Of a tensor of doubles.
  double* Doubles(Tensor& t) const { return static_cast<double*>(Data(t)); }
  template <class Int>
  Int* operator()(Indices<Int>& x) const {
    return on_device ? static_cast<Int*>(x.device.data()) : x.values.data();
  }
};

class OperationTest : public testing::TestWithParam<DType> {
 protected:
  void SetUp() override {
    DevicePlugin* plugin = nullptr;
    BALLAST_PLUGIN_OR_SKIP(plugin);
    seed_ = std::random_device()();
    RecordProperty("seed", std::to_string(seed_));
    rng_ = Rng(seed_);
    auto cuda = plugin->MakeBackend(0, GetParam(), std::numeric_limits<size_t>::max());
    BALLAST_CHECK_OK(cuda.status());
    cuda_ = *std::move(cuda);
    cuda_stream_ = cuda_->NewStream();
    auto oracle = MakeCpuBackend(DType::kFloat64);
    BALLAST_CHECK_OK(oracle.status());
    oracle_ = *std::move(oracle);
    oracle_stream_ = oracle_->NewStream();
  }
  void TearDown() override {
    if (HasFailure()) std::cout << "seed " << seed_ << "\n";
  }

  // Normal numbers times `scale` that the compute type holds.
  Tensor& Random(int64_t rows, int64_t columns, double scale = 1) {
    Tensor& t = New(rows, columns, GetParam());
    for (double& value : t.values) value = rng_.Normal() * scale;
    Round(t);
    return t;
  }
  // Of the router type.
  Tensor& Floats(int64_t rows, int64_t columns, double scale = 1) {
    Tensor& t = New(rows, columns, DType::kFloat32);
    for (double& value : t.values) value = rng_.Normal() * scale;
    Round(t);
    return t;
  }
  Tensor& PoisonedFloats(int64_t rows, int64_t columns) { return New(rows, columns, DType::kFloat32); }
  // What an operation must overwrite without reading.
  Tensor& Poisoned(int64_t rows, int64_t columns) { return New(rows, columns, GetParam()); }
  Tensor& PoisonedDoubles(int64_t elements) { return New(1, elements, DType::kFloat64); }
  Tensor& New(int64_t rows, int64_t columns, DType dtype) {
    tensors_.push_back({.rows = rows,
                        .columns = columns,
                        .values = std::vector<double>(rows * columns, std::nan("")),
                        .found = {},
                        .dtype = dtype,
                        .device = Allocate(rows * columns * DTypeBytes(dtype))});
    return tensors_.back();
  }
  template <class Int>
  Indices<Int>& Of(const std::vector<Int>& values) {
    auto& all = Lists<Int>();
    all.push_back({.values = values, .found = {}, .device = Allocate(values.size() * sizeof(Int))});
    return all.back();
  }
  // Makes the oracle's values such that the compute type holds them.
  void Round(Tensor& t) {
    if (t.dtype == DType::kFloat32) {
      for (double& value : t.values) value = static_cast<float>(value);
    } else if (t.dtype == DType::kBFloat16) {
      const std::vector<char> bytes = Encode(t);
      oracle_->FromBFloat16(*oracle_stream_, bytes.data(), t.values.size(), t.values.data());
    }
  }
  // Drops all tensors: between cases, so that one does not carry the others' along.
  void Forget() {
    tensors_.clear();
    narrow_.clear();
    wide_.clear();
  }
  // A permutation of 0..n-1.
  std::vector<int64_t> Permutation(int64_t n) {
    std::vector<int64_t> order(n);
    for (int64_t i = 0; i < n; ++i) order[i] = i;
    for (int64_t i = n - 1; i > 0; --i) std::swap(order[i], order[rng_.Below(i + 1)]);
    return order;
  }

  // Runs `operation` on the device twice and on the oracle once, from the state that the tensors have now.
  // Then every tensor has both results.
  void Both(const std::function<void(const Side&)>& operation) {
    std::vector<char> first = OnDevice(operation);
    std::vector<char> second = OnDevice(operation);
    EXPECT_TRUE(first == second) << "two runs differ";
    operation({*oracle_, *oracle_stream_, false});
  }

  // |found - expected| <= relative |expected| + absolute, with half a unit in the last place of the compute
  // type added to `relative`.
  void ExpectNear(const Tensor& t, double relative, double absolute, const char* what) {
    const double rounding = t.dtype == DType::kBFloat16 ? 0x1p-8 : t.dtype == DType::kFloat32 ? 0x1p-24 : 0;
    ASSERT_EQ(t.found.size(), t.values.size());
    for (size_t i = 0; i < t.values.size(); ++i) {
      const double allowed = (relative + rounding) * std::abs(t.values[i]) + absolute;
      ASSERT_LE(std::abs(t.found[i] - t.values[i]), allowed)
          << what << ", element " << i << " of " << t.rows << "x" << t.columns << ": found " << t.found[i]
          << ", expected " << t.values[i] << ", seed " << seed_;
      ASSERT_TRUE(std::isfinite(t.found[i])) << what << ", element " << i;
    }
  }
  template <class Int>
  void ExpectEqual(const Indices<Int>& x, const char* what) {
    EXPECT_EQ(x.found, x.values) << what << ", seed " << seed_;
  }
  // ||found - expected|| / ||expected||.
  static double RelativeError(const Tensor& t) {
    double difference = 0, size = 0;
    for (size_t i = 0; i < t.values.size(); ++i) {
      difference += (t.found[i] - t.values[i]) * (t.found[i] - t.values[i]);
      size += t.values[i] * t.values[i];
    }
    return size > 0 ? std::sqrt(difference / size) : std::sqrt(difference);
  }

  bool bfloat16() const { return GetParam() == DType::kBFloat16; }
  Buffer Allocate(size_t bytes) {
    auto buffer = cuda_->Allocate(bytes, "test");
    BALLAST_CHECK_OK(buffer.status());
    return *std::move(buffer);
  }

  uint64_t seed_ = 0;
  Rng rng_{0};
  std::unique_ptr<Backend> cuda_, oracle_;
  std::unique_ptr<Stream> cuda_stream_, oracle_stream_;

 private:
  template <class Int>
  std::deque<Indices<Int>>& Lists() {
    if constexpr (sizeof(Int) == sizeof(int32_t)) {
      return narrow_;
    } else {
      return wide_;
    }
  }
  std::vector<char> Encode(const Tensor& t) {
    std::vector<char> bytes(t.values.size() * DTypeBytes(t.dtype));
    if (t.dtype == DType::kBFloat16) {
      oracle_->ToBFloat16(*oracle_stream_, t.values.data(), t.values.size(), bytes.data());
    } else if (t.dtype == DType::kFloat32) {
      auto* to = reinterpret_cast<float*>(bytes.data());
      for (size_t i = 0; i < t.values.size(); ++i) to[i] = static_cast<float>(t.values[i]);
    } else {
      std::copy_n(reinterpret_cast<const char*>(t.values.data()), bytes.size(), bytes.data());
    }
    return bytes;
  }
  void Decode(const char* bytes, Tensor& t) {
    t.found.resize(t.values.size());
    if (t.dtype == DType::kBFloat16) {
      oracle_->FromBFloat16(*oracle_stream_, bytes, t.found.size(), t.found.data());
    } else if (t.dtype == DType::kFloat32) {
      std::vector<float> values(t.found.size());
      std::copy_n(bytes, t.found.size() * sizeof(float), reinterpret_cast<char*>(values.data()));
      std::copy(values.begin(), values.end(), t.found.begin());
    } else {
      std::copy_n(bytes, t.found.size() * sizeof(double), reinterpret_cast<char*>(t.found.data()));
    }
  }
  void Upload(const Buffer& to, const void* from) {
    cuda_->Copy(*cuda_stream_, to.data(), from, to.bytes());
    BALLAST_CHECK_OK(cuda_->Synchronize(*cuda_stream_));
  }
  std::vector<char> Download(const Buffer& from) {
    std::vector<char> bytes(from.bytes());
    cuda_->Copy(*cuda_stream_, bytes.data(), from.data(), from.bytes());
    BALLAST_CHECK_OK(cuda_->Synchronize(*cuda_stream_));
    return bytes;
  }
  // All that the tensors hold afterwards.
  std::vector<char> OnDevice(const std::function<void(const Side&)>& operation) {
    for (Tensor& t : tensors_) Upload(t.device, Encode(t).data());
    for (auto& x : narrow_) Upload(x.device, x.values.data());
    for (auto& x : wide_) Upload(x.device, x.values.data());
    operation({*cuda_, *cuda_stream_, true});
    BALLAST_CHECK_OK(cuda_->Synchronize(*cuda_stream_));
    std::vector<char> all;
    auto keep = [&](const Buffer& buffer) {
      const std::vector<char> bytes = Download(buffer);
      all.insert(all.end(), bytes.begin(), bytes.end());
      return bytes;
    };
    for (Tensor& t : tensors_) Decode(keep(t.device).data(), t);
    auto decode = [&](auto& x) {
      const std::vector<char> bytes = keep(x.device);
      x.found.resize(x.values.size());
      std::copy(bytes.begin(), bytes.end(), reinterpret_cast<char*>(x.found.data()));
    };
    for (auto& x : narrow_) decode(x);
    for (auto& x : wide_) decode(x);
    return all;
  }

  std::deque<Tensor> tensors_;
  std::deque<Indices<int32_t>> narrow_;
  std::deque<Indices<int64_t>> wide_;
};

inline std::string TypeName(const testing::TestParamInfo<DType>& info) {
  return info.param == DType::kBFloat16 ? "bfloat16" : "float32";
}

}  // namespace ballast

// The tests of `suite`, a class derived from OperationTest, for both compute types.
#define BALLAST_BOTH_TYPES(suite)                                                                    \
  INSTANTIATE_TEST_SUITE_P(Cuda, suite,                                                              \
                           testing::Values(::ballast::DType::kFloat32, ::ballast::DType::kBFloat16), \
                           ::ballast::TypeName)
