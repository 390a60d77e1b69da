// Elementwise operations, sums, the optimizer, wire types and memory on the device.
#include <algorithm>
#include <chrono>
#include <cstdlib>

#include "tests/gpu/operation_fixture.h"

namespace ballast {
namespace {

class Elementwise : public OperationTest {};
BALLAST_BOTH_TYPES(Elementwise);

// BALLAST_SMALL_SHAPES is for tools that make kernels slow.
std::vector<int64_t> Elements() {
#ifdef BALLAST_OPERATIONS_ON_CPU
  const bool small = true;
#else
  const bool small = std::getenv("BALLAST_SMALL_SHAPES") != nullptr;
#endif
  const int64_t many = small ? 70'000 : 3'000'000;
  return {0, 1, 255, 1000, many, many + 1};
}

TEST_P(Elementwise, AddAndScale) {
  for (int64_t n : Elements()) {
    Forget();
    Tensor &x = Random(1, n), &y = Random(1, n), &z = Random(1, n);
    Both([&](const Side& side) {
      side.backend.Add(side.stream, side(x), side(y));
      side.backend.Scale(side.stream, 0.3, side(z));
    });
    ExpectNear(y, 0, 0, "sum");
    ExpectNear(z, 1e-7, 0, "scaled");
  }
}

TEST_P(Elementwise, SwigluAndItsGradient) {
  for (auto [rows, columns] : {std::pair<int64_t, int64_t>{0, 3}, {1, 1}, {5, 7}, {3, 64}, {17, 520}}) {
    Forget();
    SCOPED_TRACE(absl::StrCat(rows, " x ", columns));
    Tensor &gate_up = Random(rows, 2 * columns, 2), &hidden = Poisoned(rows, columns);
    Tensor &pull = Random(rows, columns), &gradient = Poisoned(rows, 2 * columns);
    if (columns > 10) gate_up.values[3] = -100, gate_up.values[4] = 100;  // the sigmoid is 0 and 1 there
    Both([&](const Side& side) {
      side.backend.SwigluForward(side.stream, side(gate_up), side(hidden));
      side.backend.SwigluBackward(side.stream, side(gate_up), side(pull), side(gradient));
    });
    ExpectNear(hidden, 2e-6, 1e-30, "hidden");
    ExpectNear(gradient, 2e-6, 4e-6, "gradient");
  }
}

TEST_P(Elementwise, ManySumsOfSquares) {
  for (int64_t n : Elements()) {
    Forget();
    Tensor& x = Random(1, n);
    // More than the stream has places for, to be handed out in order.
    std::vector<double> on_device(n > 1000 ? 3 : 1500, -1), expected(1, -1);
    Both([&](const Side& side) {
      std::vector<double>& out = side.on_device ? on_device : expected;
      for (double& sum : out) side.backend.SumOfSquares(side.stream, side.Data(x), n, &sum);
    });
    for (double sum : on_device) ASSERT_NEAR(sum, expected[0], 1e-12 * expected[0]) << n << " elements";
  }
}

// As gradients of microbatches, and of ranks, are added up.
TEST_P(Elementwise, SumsOfGradientsAreFloat) {
  for (int64_t n : Elements()) {
    Forget();
    Tensor &x = Random(1, n), &y = Random(1, n, 0x1p-9), &z = Random(1, n), &sum = PoisonedFloats(1, n),
           &rounded = Poisoned(1, n);
    std::vector<double> on_device(2, -1), expected(1, -1);
    Both([&](const Side& side) {
      side.backend.SumIntoMaster(side.stream, side.Data(x), n, /*add=*/false, side.Data(sum));
      side.backend.SumIntoMaster(side.stream, side.Data(y), n, /*add=*/true, side.Data(sum));
      side.backend.CastMaster(side.stream, side.Data(sum), n, side.Data(rounded));
      side.backend.AddMaster(side.stream, side.Data(sum), n, side.Data(z));
      for (double& squares : side.on_device ? on_device : expected)
        side.backend.SumOfMasterSquares(side.stream, side.Data(sum), n, &squares);
    });
    ExpectNear(sum, 0x1p-23, 0, "sum");
    ExpectNear(rounded, 0x1p-23, 0, "rounded sum");
    ExpectNear(z, 0x1p-23, 1e-6, "a gradient and a sum");  // terms of up to 8, which may cancel
    for (double squares : on_device)
      ASSERT_NEAR(squares, expected[0], 2e-7 * expected[0]) << n << " elements";
  }
}

TEST_P(Elementwise, AdamWKeepsItsStateInFloat) {
  for (int64_t n : {int64_t{0}, int64_t{1}, int64_t{4097}}) {
    Forget();
    Tensor& gradient = Floats(1, n);
    Tensor &master = New(1, n, DType::kFloat32), &moment1 = New(1, n, DType::kFloat32),
           &moment2 = New(1, n, DType::kFloat32), &weights = Poisoned(1, n);
    for (int64_t i = 0; i < n; ++i) {
      master.values[i] = static_cast<float>(rng_.Normal());
      moment1.values[i] = static_cast<float>(rng_.Normal() * 0.1);
      moment2.values[i] = static_cast<float>(std::abs(rng_.Normal()) * 0.01);
    }
    const AdamWStep step{.learning_rate = 1e-2,
                         .beta1 = 0.9,
                         .beta2 = 0.95,
                         .epsilon = 1e-8,
                         .weight_decay = 0.1,
                         .gradient_scale = 0.5,
                         .step = 3};
    // The terms of a moment may cancel: its error is that of the terms.
    double term = 0;
    for (int64_t i = 0; i < n; ++i) {
      term = std::max({term, step.beta1 * std::abs(moment1.values[i]),
                       (1 - step.beta1) * step.gradient_scale * std::abs(gradient.values[i])});
    }
    Both([&](const Side& side) {
      side.backend.AdamW(side.stream, step, n, side.Data(gradient), side.Data(master), side.Data(moment1),
                         side.Data(moment2), side.Data(weights));
    });
    ExpectNear(master, 1e-6, 1e-7, "master");
    ExpectNear(moment1, 1e-6, 0x1p-23 * term, "moment 1");
    ExpectNear(moment2, 1e-6, 1e-9, "moment 2");
    ExpectNear(weights, 1e-6, 1e-7, "weights");
  }
}

TEST_P(Elementwise, WireTypeRoundsToNearestEven) {
  for (int64_t n : Elements()) {
    Forget();
    Tensor &x = Random(1, n), &wire = New(1, n, DType::kBFloat16), &back = Poisoned(1, n);
    if (n > 10) {
      x.values[0] = 1 + 0x1p-8;      // a tie, to even: 1
      x.values[1] = 1 + 3 * 0x1p-8;  // a tie, to even: up
      x.values[2] = std::ldexp(1.0, 127) * 1.5;
      Round(x);
    }
    Both([&](const Side& side) {
      if (!side.on_device) return;
      side.backend.ToBFloat16(side.stream, side.Data(x), n, side.Data(wire));
      side.backend.FromBFloat16(side.stream, side.Data(wire), n, side.Data(back));
    });
    wire.values = x.values;
    Round(wire);
    back.values = wire.values;
    EXPECT_EQ(wire.found, wire.values);
    EXPECT_EQ(back.found, back.values);
  }
}

TEST_P(Elementwise, MemoryIsZeroedCountedAndBounded) {
  const size_t before = device_->allocated_bytes();
  for (int round = 0; round < 3; ++round) {
    Buffer buffer = Allocate(1 << 20);
    EXPECT_EQ(device_->allocated_bytes(), before + (1 << 20));
    std::vector<char> bytes(1 << 20, 'x');
    device_->Copy(*device_stream_, bytes.data(), buffer.data(), bytes.size());
    ASSERT_TRUE(device_->Synchronize(*device_stream_).ok());
    EXPECT_EQ(std::count(bytes.begin(), bytes.end(), '\0'), 1 << 20);
    std::fill(bytes.begin(), bytes.end(), 'y');
    device_->Copy(*device_stream_, buffer.data(), bytes.data(), bytes.size());
    ASSERT_TRUE(device_->Synchronize(*device_stream_).ok());
  }
  EXPECT_EQ(device_->allocated_bytes(), before);
  absl::Status status = device_->Allocate(size_t{1} << 50, "too much").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  for (const char* part : {"too much", "1125899906842624"}) {
    EXPECT_NE(std::string(status.message()).find(part), std::string::npos) << status;
  }
  EXPECT_EQ(device_->allocated_bytes(), before);
  Buffer after = Allocate(64);  // the refusal has broken nothing
  device_->Zero(*device_stream_, after.data(), 64);
  EXPECT_TRUE(device_->Synchronize(*device_stream_).ok());
}

// Without the order the second stream would read what was there before.
TEST_P(Elementwise, AStreamRunsBehindAnother) {
  const size_t bytes = size_t{64} << 20;
  Buffer from = Allocate(bytes), middle = Allocate(bytes), to = Allocate(bytes);
  const std::vector<char> values(bytes, 'x');
  device_->Copy(*device_stream_, from.data(), values.data(), bytes);
  ASSERT_TRUE(device_->Synchronize(*device_stream_).ok());
  std::unique_ptr<Stream> second = device_->NewStream();
  for (int i = 0; i < 20; ++i) device_->Copy(*device_stream_, middle.data(), from.data(), bytes);
  device_->RunBehind(*second, *device_stream_);
  device_->Copy(*second, to.data(), middle.data(), bytes);
  std::vector<char> found(bytes, 'y');
  device_->Copy(*second, found.data(), to.data(), bytes);
  ASSERT_TRUE(device_->Synchronize(*second).ok());
  EXPECT_TRUE(found == values);
}

// Marks of two streams: what lies between two of them is at most what the host saw pass, and work takes time.
TEST_P(Elementwise, MarksTellWhatOperationsTake) {
  std::unique_ptr<StreamMarks> marks = device_->NewMarks();
  if (marks == nullptr) {
    EXPECT_EQ(device_->name(), "cpu") << "operations have run when they return";
    return;
  }
  const size_t bytes = size_t{64} << 20;
  Buffer a = Allocate(bytes), b = Allocate(bytes);
  std::unique_ptr<Stream> second = device_->NewStream();
  for (int round = 0; round < 2; ++round) {
    ASSERT_TRUE(device_->Synchronize(*device_stream_).ok());
    const auto begin = std::chrono::steady_clock::now();
    marks->Clear();
    marks->Set(*device_stream_);
    for (int i = 0; i < 50; ++i) device_->Copy(*device_stream_, b.data(), a.data(), bytes);
    marks->Set(*device_stream_);
    device_->RunBehind(*second, *device_stream_);
    marks->Set(*second);
    device_->Copy(*second, a.data(), b.data(), bytes);
    marks->Set(*second);
    ASSERT_TRUE(device_->Synchronize(*second).ok());
    const double host = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    ASSERT_EQ(marks->count(), 4u);
    double sum = 0;
    for (size_t mark = 0; mark < 3; ++mark) sum += marks->Seconds(mark, mark + 1);
    EXPECT_LE(sum, host * 1.01);
    // 6.4 GB read and written, by no device at more than 100 TB/s.
    EXPECT_GT(marks->Seconds(0, 1), 6e-5);
    EXPECT_NEAR(marks->Seconds(0, 3), sum, 1e-5);
    EXPECT_GT(marks->Seconds(0, 1), marks->Seconds(2, 3)) << "50 copies and one";
  }
}

#ifndef BALLAST_OPERATIONS_ON_CPU
TEST(CudaPlugin, RefusesWhatItHasNot) {
  DevicePlugin* plugin = nullptr;
  BALLAST_PLUGIN_OR_SKIP(plugin);
  auto devices = plugin->Devices();
  ASSERT_TRUE(devices.ok()) << devices.status();
  for (const DeviceInfo& device : *devices) {
    std::cout << device.name << ", compute capability " << device.compute_capability << ", "
              << device.memory_bytes << " bytes\n";
    EXPECT_GT(device.memory_bytes, size_t{1} << 30);
  }
  const size_t all = std::numeric_limits<size_t>::max();
  absl::Status status = plugin->MakeBackend(static_cast<int>(devices->size()), DType::kFloat32, all).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound) << status;
  status = plugin->MakeBackend(0, DType::kFloat64, all).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  auto small = plugin->MakeBackend(0, DType::kFloat32, 1000);
  ASSERT_TRUE(small.ok()) << small.status();
  EXPECT_EQ((*small)->Allocate(1001, "x").status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE((*small)->Allocate(1000, "x").ok());
}
#endif

}  // namespace
}  // namespace ballast
