// Operations of a device beside the CPU backend in double, which is the oracle.
//
// Inputs are fresh random numbers that the compute type holds exactly, so the two differ by the device's sums
// in float and by its one rounding where it stores. Every operation runs twice on the device from the same
// state, and the two must agree bit for bit. In bfloat16 it also runs on the CPU backend of that type, the
// twin, which rounds at the same points: the two may differ by a unit in the last place, where the sums fall
// on either side of a tie, and by the sums.
//
// The device is CUDA's. With BALLAST_OPERATIONS_ON_CPU it is the CPU backend itself, so that the twin stands
// the same tests.
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

// A matrix on all sides: doubles on the host, the compute type (or double) on the device and its twin.
struct Tensor {
  int64_t rows = 0;
  int64_t columns = 0;
  std::vector<double> values;  // the oracle's
  std::vector<double> found;   // the device's after an operation
  std::vector<double> twin_found;
  DType dtype = DType::kFloat64;
  Buffer device, twin;
};

// Memory of a size that each backend chooses.
struct Opaque {
  Buffer device, twin, oracle;
};

// Integers, the same on both sides.
template <class Int>
struct Indices {
  std::vector<Int> values;
  std::vector<Int> found;
  std::vector<Int> twin_values;
  Buffer device;
};

// Where one run of an operation finds its operands.
struct Side {
  Backend& backend;
  Stream& stream;
  bool on_device;
  bool on_twin = false;
  Matrix operator()(Tensor& t) const { return {Data(t), t.rows, t.columns}; }
  void* Data(Tensor& t) const {
    return on_device ? t.device.data() : on_twin ? t.twin.data() : t.values.data();
  }
  void* operator()(Opaque& x) const { return (on_device ? x.device : on_twin ? x.twin : x.oracle).data(); }
  // Of a tensor of doubles.
  double* Doubles(Tensor& t) const { return static_cast<double*>(Data(t)); }
  template <class Int>
  Int* operator()(Indices<Int>& x) const {
    return on_device ? static_cast<Int*>(x.device.data()) : on_twin ? x.twin_values.data() : x.values.data();
  }
};

class OperationTest : public testing::TestWithParam<DType> {
 protected:
  void SetUp() override {
    seed_ = std::random_device()();
    RecordProperty("seed", std::to_string(seed_));
    rng_ = Rng(seed_);
#ifdef BALLAST_OPERATIONS_ON_CPU
    device_ = OnCpu(GetParam());
#else
    DevicePlugin* plugin = nullptr;
    BALLAST_PLUGIN_OR_SKIP(plugin);
    auto device = plugin->MakeBackend(0, GetParam(), std::numeric_limits<size_t>::max());
    BALLAST_CHECK_OK(device.status());
    device_ = *std::move(device);
    if (bfloat16()) {
      twin_ = OnCpu(GetParam());
      twin_stream_ = twin_->NewStream();
    }
#endif
    device_stream_ = device_->NewStream();
    oracle_ = OnCpu(DType::kFloat64);
    oracle_stream_ = oracle_->NewStream();
  }
  static std::unique_ptr<Backend> OnCpu(DType dtype) {
    // Below what a sanitizer's allocator ends the process for.
    auto backend = MakeCpuBackend(dtype, size_t{1} << 36);
    BALLAST_CHECK_OK(backend.status());
    return *std::move(backend);
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
                        .twin_found = {},
                        .dtype = dtype,
                        .device = Allocate(rows * columns * DTypeBytes(dtype)),
                        .twin = {}});
    Tensor& t = tensors_.back();
    if (twin_ != nullptr) t.twin = twin_->Allocate(t.device.bytes(), "test").value();
    return t;
  }
  // Memory of as many bytes as each backend asks for.
  Opaque New(const std::function<size_t(const Backend&)>& bytes_of) {
    Opaque x;
    x.device = Allocate(bytes_of(*device_));
    if (twin_ != nullptr) x.twin = twin_->Allocate(bytes_of(*twin_), "test").value();
    x.oracle = oracle_->Allocate(bytes_of(*oracle_), "test").value();
    return x;
  }
  template <class Int>
  Indices<Int>& Of(const std::vector<Int>& values) {
    auto& all = Lists<Int>();
    all.push_back({.values = values,
                   .found = {},
                   .twin_values = values,
                   .device = Allocate(values.size() * sizeof(Int))});
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

  // Runs `operation` on the device twice, and on the twin and the oracle once, from the state that the
  // tensors have now. Then every tensor has all results.
  void Both(const std::function<void(const Side&)>& operation) {
    std::vector<char> first = OnDevice(operation);
    std::vector<char> second = OnDevice(operation);
    EXPECT_TRUE(first == second) << "two runs differ";
    if (twin_ != nullptr) OnTwin(operation);
    operation({*oracle_, *oracle_stream_, false});
  }

  // |found - expected| <= relative |expected| + absolute, with half a unit in the last place of the compute
  // type added to `relative`; the twin is beside it by a unit and the same sums.
  void ExpectNear(const Tensor& t, double relative, double absolute, const char* what) {
    ExpectNearOracle(t, relative, absolute, what);
    ExpectNearTwin(t, relative, absolute, what);
  }
  void ExpectNearTwin(const Tensor& t, double relative, double absolute, const char* what) {
    if (twin_ == nullptr) return;
    const double unit = t.dtype == DType::kBFloat16 ? 0x1p-7 : t.dtype == DType::kFloat32 ? 0x1p-23 : 0;
    ASSERT_EQ(t.found.size(), t.twin_found.size());
    for (size_t i = 0; i < t.twin_found.size(); ++i) {
      const double allowed = (2 * relative + unit) * std::abs(t.twin_found[i]) + 2 * absolute;
      ASSERT_LE(std::abs(t.found[i] - t.twin_found[i]), allowed)
          << what << ", element " << i << " of " << t.rows << "x" << t.columns << ": found " << t.found[i]
          << ", the CPU in the same type " << t.twin_found[i] << ", seed " << seed_;
    }
  }
  void ExpectNearOracle(const Tensor& t, double relative, double absolute, const char* what) {
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
    if (twin_ != nullptr) {
      EXPECT_EQ(x.found, x.twin_values) << what << " of the twin, seed " << seed_;
    }
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
    auto buffer = device_->Allocate(bytes, "test");
    BALLAST_CHECK_OK(buffer.status());
    return *std::move(buffer);
  }

  uint64_t seed_ = 0;
  Rng rng_{0};
  std::unique_ptr<Backend> device_, twin_, oracle_;  // no twin: in float32, and when it is the device
  std::unique_ptr<Stream> device_stream_, twin_stream_, oracle_stream_;

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
  void Decode(const char* bytes, const Tensor& t, std::vector<double>& to) {
    to.resize(t.values.size());
    if (t.dtype == DType::kBFloat16) {
      oracle_->FromBFloat16(*oracle_stream_, bytes, to.size(), to.data());
    } else if (t.dtype == DType::kFloat32) {
      std::vector<float> values(to.size());
      std::copy_n(bytes, to.size() * sizeof(float), reinterpret_cast<char*>(values.data()));
      std::copy(values.begin(), values.end(), to.begin());
    } else {
      std::copy_n(bytes, to.size() * sizeof(double), reinterpret_cast<char*>(to.data()));
    }
  }
  void OnTwin(const std::function<void(const Side&)>& operation) {
    for (Tensor& t : tensors_) {
      const std::vector<char> bytes = Encode(t);
      twin_->Copy(*twin_stream_, t.twin.data(), bytes.data(), bytes.size());
    }
    for (auto& x : narrow_) x.twin_values = x.values;
    for (auto& x : wide_) x.twin_values = x.values;
    operation({*twin_, *twin_stream_, false, true});
    for (Tensor& t : tensors_) Decode(static_cast<const char*>(t.twin.data()), t, t.twin_found);
  }
  void Upload(const Buffer& to, const void* from) {
    device_->Copy(*device_stream_, to.data(), from, to.bytes());
    BALLAST_CHECK_OK(device_->Synchronize(*device_stream_));
  }
  std::vector<char> Download(const Buffer& from) {
    std::vector<char> bytes(from.bytes());
    device_->Copy(*device_stream_, bytes.data(), from.data(), from.bytes());
    BALLAST_CHECK_OK(device_->Synchronize(*device_stream_));
    return bytes;
  }
  // All that the tensors hold afterwards.
  std::vector<char> OnDevice(const std::function<void(const Side&)>& operation) {
    for (Tensor& t : tensors_) Upload(t.device, Encode(t).data());
    for (auto& x : narrow_) Upload(x.device, x.values.data());
    for (auto& x : wide_) Upload(x.device, x.values.data());
    operation({*device_, *device_stream_, true});
    BALLAST_CHECK_OK(device_->Synchronize(*device_stream_));
    std::vector<char> all;
    auto keep = [&](const Buffer& buffer) {
      const std::vector<char> bytes = Download(buffer);
      all.insert(all.end(), bytes.begin(), bytes.end());
      return bytes;
    };
    for (Tensor& t : tensors_) Decode(keep(t.device).data(), t, t.found);
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
#ifdef BALLAST_OPERATIONS_ON_CPU
#define BALLAST_DEVICE Cpu
#else
#define BALLAST_DEVICE Cuda
#endif
#define BALLAST_BOTH_TYPES(suite)                                                                    \
  INSTANTIATE_TEST_SUITE_P(BALLAST_DEVICE, suite,                                                    \
                           testing::Values(::ballast::DType::kFloat32, ::ballast::DType::kBFloat16), \
                           ::ballast::TypeName)
