#include <gmock/gmock.h>

#include <thread>

#include "tests/worker/backend/backend_fixture.h"
#include "worker/backend/growing_buffer.h"

namespace ballast {
namespace {

using testing::HasSubstr;

TEST(CpuMemory, IsZeroedAndCountedByLabel) {
  auto backend = MakeCpuBackend(DType::kFloat32).value();
  Buffer a = backend->Allocate(1000, "weights").value();
  for (size_t i = 0; i < a.bytes(); ++i) ASSERT_EQ(static_cast<char*>(a.data())[i], 0);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(a.data()) % 64, 0u);
  {
    Buffer b = backend->Allocate(24, "weights").value();
    Buffer c = backend->Allocate(7, "gradients").value();
    EXPECT_EQ(backend->allocated_bytes(), 1031u);
    EXPECT_EQ(backend->allocated_bytes_by_label(),
              (std::map<std::string, size_t>{{"gradients", 7}, {"weights", 1024}}));
  }
  EXPECT_EQ(backend->allocated_bytes_by_label(), (std::map<std::string, size_t>{{"weights", 1000}}));
  a = Buffer();
  EXPECT_EQ(backend->allocated_bytes(), 0u);
}

TEST(CpuMemory, RefusesMoreThanItsBoundAndSaysSo) {
  auto backend = MakeCpuBackend(DType::kFloat32, 100).value();
  Buffer a = backend->Allocate(60, "weights").value();
  absl::Status refused = backend->Allocate(41, "gradients").status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(refused.message()), HasSubstr("gradients"));
  EXPECT_THAT(std::string(refused.message()), HasSubstr("41 bytes; 60 in use, 100 allowed"));
  EXPECT_EQ(backend->allocated_bytes(), 60u);
  EXPECT_TRUE(backend->Allocate(40, "gradients").ok());
}

// Sanitizers end a program that asks for that much.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
TEST(CpuMemory, RefusesWhatTheSystemDoesNotHave) {
  auto backend = MakeCpuBackend(DType::kFloat32).value();
  EXPECT_EQ(backend->Allocate(size_t{1} << 60, "weights").status().code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(backend->allocated_bytes(), 0u);
}
#endif

TEST(CpuMemory, BuffersMayOutliveTheBackendAndThreadsMayShareIt) {
  Buffer kept;
  {
    auto backend = MakeCpuBackend(DType::kFloat64).value();
    kept = backend->Allocate(8, "kept").value();
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        for (int i = 0; i < 100; ++i) ASSERT_TRUE(backend->Allocate(16, "shared").ok());
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(backend->allocated_bytes(), 8u);
  }
  *static_cast<double*>(kept.data()) = 1;
}

TEST(CpuBackend, BFloat16HasMastersAndRouterInFloat) {
  auto backend = MakeCpuBackend(DType::kBFloat16, 100).value();
  EXPECT_EQ(backend->dtype(), DType::kBFloat16);
  EXPECT_EQ(backend->element_bytes(), 2u);
  EXPECT_EQ(backend->master_bytes(), 4u);
  EXPECT_EQ(backend->router_dtype(), DType::kFloat32);
  EXPECT_EQ(backend->Allocate(101, "x").status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(backend->Allocate(100, "x").ok());
}

TEST(GrowingBuffer, AllocatesAgainOnlyWhenMoreIsNeededThanEver) {
  auto backend = MakeCpuBackend(DType::kFloat64).value();
  GrowingBuffer buffer(*backend, "rows");
  EXPECT_EQ(backend->allocated_bytes(), 0u);
  Matrix first = buffer.Shape(4, 5).value();
  EXPECT_EQ(first.elements(), 20);
  EXPECT_EQ(backend->allocated_bytes(), 160u);
  EXPECT_EQ(buffer.Shape(2, 3).value().data, first.data);
  EXPECT_EQ(buffer.Shape(0, 3).value().rows, 0);
  EXPECT_EQ(backend->allocated_bytes(), 160u);
  ASSERT_NE(buffer.Array<int32_t>(100).value(), nullptr);
  EXPECT_EQ(backend->allocated_bytes_by_label(), (std::map<std::string, size_t>{{"rows", 400}}));
}

TEST(GrowingBuffer, HandsOutTheBackendsRefusal) {
  auto backend = MakeCpuBackend(DType::kFloat64, 100).value();
  GrowingBuffer buffer(*backend, "rows");
  EXPECT_EQ(buffer.Shape(4, 5).status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(buffer.Shape(4, 3).ok());
}

}  // namespace
}  // namespace ballast
