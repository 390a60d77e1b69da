// What NCCL's own watch over a job's processes (RAS, NCCL 2.24 and later) says, for the log when collectives
// fail.
//
// Each NCCL process runs it; whoever asks at its text port gets the state of all processes and communicators:
// https://docs.nvidia.com/deeplearning/nccl/user-guide/docs/troubleshooting/ras.html
#pragma once

#include <string>
#include <thread>

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "base/mutex.h"

namespace ballast {

// NCCL_RAS_ADDR, as NCCL reads it; by default localhost:28028. Empty when NCCL_RAS_ENABLE is 0.
std::string NcclStatusAddress();

// The answer of the RAS port at "host:port". InvalidArgument for another shape of address; Unavailable
// without a listener, or for an answer of nothing; DeadlineExceeded for one that has not ended within
// `within`.
absl::StatusOr<std::string> AskNcclStatus(const std::string& address, Duration within);

// Asks in the background and logs the answer, a line each.
class NcclStatusLog {
 public:
  // `within` bounds a question, and so how long the destructor takes, which lets the last one be answered.
  NcclStatusLog(std::string address, Duration within);
  ~NcclStatusLog();
  NcclStatusLog(const NcclStatusLog&) = delete;
  NcclStatusLog& operator=(const NcclStatusLog&) = delete;

  // Returns at once, from any thread. Ranks that fail together make one question.
  void Ask() EXCLUDES(mutex_);

 private:
  void Loop() EXCLUDES(mutex_);

  const std::string address_;
  const Duration within_;
  Mutex mutex_;
  CondVar changed_;
  bool asked_ GUARDED_BY(mutex_) = false;
  bool ending_ GUARDED_BY(mutex_) = false;
  std::thread thread_;  // last: it uses what stands above
};

}  // namespace ballast
