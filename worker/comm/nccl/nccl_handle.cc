#include "worker/comm/nccl/nccl_handle.h"

#include <thread>

#include "absl/strings/str_cat.h"

namespace ballast {
namespace {

constexpr std::chrono::microseconds kPoll(20);

Time Now() { return std::chrono::time_point_cast<Duration>(std::chrono::steady_clock::now()); }

}  // namespace

NcclHandle::~NcclHandle() { End(); }

absl::Status NcclHandle::Call(const std::function<ncclResult_t(ncclComm_t&)>& call, Time deadline) {
  if (absl::Status dead = failure(); !dead.ok()) return dead;
  absl::Status wrong;
  {
    MutexLock lock(mutex_);
    const ncclResult_t result = call(communicator_);
    if (result != ncclSuccess && result != ncclInProgress) wrong = StatusOf(result);
  }
  while (wrong.ok()) {
    if (absl::Status dead = failure(); !dead.ok()) return dead;
    ncclResult_t state = ncclSuccess;
    {
      MutexLock lock(mutex_);
      if (communicator_ == nullptr) break;  // aborted
      const ncclResult_t asked = ncclCommGetAsyncError(communicator_, &state);
      if (asked != ncclSuccess) state = asked;
      if (state == ncclSuccess) return absl::OkStatus();
      if (state != ncclInProgress) wrong = StatusOf(state);
    }
    if (wrong.ok() && Now() >= deadline) {
      wrong = absl::DeadlineExceededError("the other ranks did not join NCCL in time");
    }
    if (wrong.ok()) std::this_thread::sleep_for(kPoll);
  }
  Fail(wrong.ok() ? absl::AbortedError("the communicator is gone") : wrong);
  return failure();
}

absl::Status NcclHandle::Health() {
  if (absl::Status dead = failure(); !dead.ok()) return dead;
  if (!mutex_.TryLock()) return failure();  // being aborted
  absl::Status wrong;
  if (communicator_ != nullptr) {
    ncclResult_t state = ncclSuccess;
    const ncclResult_t asked = ncclCommGetAsyncError(communicator_, &state);
    if (asked != ncclSuccess) state = asked;
    if (state != ncclSuccess && state != ncclInProgress) wrong = StatusOf(state);
  }
  mutex_.Unlock();
  if (!wrong.ok()) Fail(wrong);
  return failure();
}

void NcclHandle::Fail(const absl::Status& failure) {
  {
    MutexLock lock(failure_mutex_);
    if (!failure_.ok()) return;
    failure_ = failure;
  }
  End();
}

void NcclHandle::Abort(const std::string& reason) { Fail(absl::AbortedError(reason)); }

absl::Status NcclHandle::failure() const {
  MutexLock lock(failure_mutex_);
  return failure_;
}

void NcclHandle::End() {
  MutexLock lock(mutex_);
  if (communicator_ == nullptr) return;
  // Whatever it returns, nothing is left to be done with this communicator.
  ncclCommAbort(communicator_);
  communicator_ = nullptr;
}

absl::Status NcclHandle::StatusOf(ncclResult_t result) const {
  const char* detail = ncclGetLastError(communicator_);
  const std::string text =
      absl::StrCat("NCCL: ", ncclGetErrorString(result), ": ", detail == nullptr ? "" : detail);
  if (result == ncclInvalidUsage || result == ncclInvalidArgument) return absl::FailedPreconditionError(text);
  return absl::UnavailableError(text);
}

}  // namespace ballast
