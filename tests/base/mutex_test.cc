// Waits with a deadline do not look at the wall clock, which people and NTP set.
#include "base/mutex.h"

#include <dlfcn.h>
#include <gtest/gtest.h>
#include <time.h>

#include <atomic>
#include <chrono>
#include <thread>

#if !BALLAST_UNDER_TSAN  // which knows waits on the wall clock alone

namespace {

// Added to what this process reads from the wall clock; the kernel's own stays as it is, as if the clock had
// been set between the two looks at it that a wait on the wall clock takes.
std::atomic<int64_t> wall_clock_jump_s{0};

}  // namespace

extern "C" int clock_gettime(clockid_t clock, timespec* now) noexcept {
  using Function = int (*)(clockid_t, timespec*);
  static const Function real = reinterpret_cast<Function>(dlsym(RTLD_NEXT, "clock_gettime"));
  const int result = real(clock, now);
  if (clock == CLOCK_REALTIME) now->tv_sec += wall_clock_jump_s.load();
  return result;
}

namespace ballast {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;
using std::chrono::system_clock;

class WallClockJump : public testing::TestWithParam<int64_t> {
 protected:
  void SetUp() override {
    const auto before = system_clock::now();
    wall_clock_jump_s = GetParam();
    ASSERT_GT(std::chrono::abs(system_clock::now() - before), std::chrono::minutes(50)) << "the clock jumps";
  }
  void TearDown() override { wall_clock_jump_s = 0; }
};

TEST_P(WallClockJump, ChangesNoDeadline) {
  Mutex mutex;
  CondVar changed;
  // A wait that looked at the wall clock would last an hour; then this signal ends it, and the test fails.
  std::atomic<bool> done{false};
  std::thread rescue([&] {
    for (int i = 0; i < 500 && !done; ++i) std::this_thread::sleep_for(milliseconds(10));
    changed.SignalAll();
  });
  {
    MutexLock lock(mutex);
    const auto deadline = steady_clock::now() + milliseconds(50);
    while (changed.WaitUntil(mutex, deadline)) {
      if (steady_clock::now() > deadline + std::chrono::seconds(2)) break;
    }
    EXPECT_GE(steady_clock::now(), deadline) << "returned false before the deadline";
    EXPECT_LT(steady_clock::now(), deadline + std::chrono::seconds(2));
  }
  done = true;
  rescue.join();
}

INSTANTIATE_TEST_SUITE_P(ByAnHour, WallClockJump, testing::Values(int64_t{3600}, int64_t{-3600}),
                         [](const auto& info) { return info.param > 0 ? "Forward" : "Back"; });

}  // namespace
}  // namespace ballast

#endif
