// NcclHandle: a non-blocking NCCL communicator that any thread may abort.
#pragma once

#include <nccl.h>

#include <functional>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "base/clock.h"
#include "base/mutex.h"

namespace ballast {

// The rank's thread calls everything but Abort(). Its first failure stays: every later call returns it.
class NcclHandle {
 public:
  NcclHandle() = default;
  ~NcclHandle();  // aborts: waits for no peer
  NcclHandle(const NcclHandle&) = delete;
  NcclHandle& operator=(const NcclHandle&) = delete;

  // Runs `call`, which may start one NCCL operation or group, and waits until NCCL has taken it in. OK;
  // Aborted; DeadlineExceeded; Unavailable with what NCCL says.
  absl::Status Call(const std::function<ncclResult_t(ncclComm_t&)>& call, Time deadline) EXCLUDES(mutex_);

  // How NCCL is: OK, Aborted, or Unavailable with what it says. Never waits for another thread's call.
  absl::Status Health() EXCLUDES(mutex_);

  // Ends the communicator with this failure; kernels of it end, too. The first failure wins, and its call
  // returns when the communicator is gone; later ones do nothing.
  void Fail(const absl::Status& failure) EXCLUDES(mutex_);

  // Fail(Aborted(reason)), from any thread.
  void Abort(const std::string& reason) EXCLUDES(mutex_);

  // OK as long as nothing has failed. From any thread; never waits for NCCL.
  absl::Status failure() const EXCLUDES(failure_mutex_);

 private:
  void End() EXCLUDES(mutex_);
  // What NCCL's last error amounts to.
  absl::Status StatusOf(ncclResult_t result) const REQUIRES(mutex_);

  mutable Mutex failure_mutex_;                      // taken last
  absl::Status failure_ GUARDED_BY(failure_mutex_);  // set before the communicator is ended
  Mutex mutex_;                                      // around every call into NCCL
  ncclComm_t communicator_ GUARDED_BY(mutex_) = nullptr;
};

}  // namespace ballast
