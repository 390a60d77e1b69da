// std::mutex with clang's thread-safety annotations; build with -Wthread-safety to have them checked.
//
// absl::Mutex is not used: Debian's build of it is not instrumented, so ThreadSanitizer would see races that
// are none.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>

#if defined(__clang__)
#define BALLAST_TSA(x) __attribute__((x))
#else
#define BALLAST_TSA(x)
#endif
// absl's headers define these three as well, with the same meaning.
#undef GUARDED_BY
#undef PT_GUARDED_BY
#undef NO_THREAD_SAFETY_ANALYSIS
#define GUARDED_BY(x) BALLAST_TSA(guarded_by(x))
#define PT_GUARDED_BY(x) BALLAST_TSA(pt_guarded_by(x))
#define REQUIRES(...) BALLAST_TSA(requires_capability(__VA_ARGS__))
#define EXCLUDES(...) BALLAST_TSA(locks_excluded(__VA_ARGS__))
#define NO_THREAD_SAFETY_ANALYSIS BALLAST_TSA(no_thread_safety_analysis)

#if defined(__SANITIZE_THREAD__)
#define BALLAST_UNDER_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define BALLAST_UNDER_TSAN 1
#endif
#endif
#ifndef BALLAST_UNDER_TSAN
#define BALLAST_UNDER_TSAN 0
#endif

namespace ballast {

class BALLAST_TSA(capability("mutex")) Mutex {
 public:
  void Lock() BALLAST_TSA(acquire_capability()) { mutex_.lock(); }
  // False when another thread holds it.
  bool TryLock() BALLAST_TSA(try_acquire_capability(true)) { return mutex_.try_lock(); }
  void Unlock() BALLAST_TSA(release_capability()) { mutex_.unlock(); }

 private:
  friend class CondVar;
  std::mutex mutex_;
};

class BALLAST_TSA(scoped_lockable) MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) BALLAST_TSA(acquire_capability(mutex)) : mutex_(mutex) { mutex_.Lock(); }
  ~MutexLock() BALLAST_TSA(release_capability()) { mutex_.Unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex& mutex_;
};

// Waits release the mutex and take it again; wake-ups may be spurious, so wait in a loop over the condition.
class CondVar {
 public:
  void Wait(Mutex& mutex) REQUIRES(mutex) {
    std::unique_lock<std::mutex> lock(mutex.mutex_, std::adopt_lock);
    condition_.wait(lock);
    lock.release();
  }
  // False when `deadline` passed first, whatever the wall clock does meanwhile.
  bool WaitUntil(Mutex& mutex, std::chrono::steady_clock::time_point deadline) REQUIRES(mutex) {
    std::unique_lock<std::mutex> lock(mutex.mutex_, std::adopt_lock);
#if BALLAST_UNDER_TSAN
    // ThreadSanitizer of GCC 12 does not know pthread_cond_clockwait. A wall clock that jumps changes this
    // wait.
    const auto until = std::chrono::system_clock::now() + (deadline - std::chrono::steady_clock::now());
#else
    const auto until = deadline;
#endif
    const bool signalled = condition_.wait_until(lock, until) == std::cv_status::no_timeout;
    lock.release();
    return signalled;
  }
  void Signal() { condition_.notify_one(); }
  void SignalAll() { condition_.notify_all(); }

 private:
  std::condition_variable condition_;
};

}  // namespace ballast
