#include "worker/daemon/nccl_status.h"

#include <poll.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <sstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "worker/neighbours/socket.h"

namespace ballast {
namespace {

constexpr char kQuestion[] = "verbose status\n";
constexpr size_t kAnswerBytesMax = size_t{1} << 20;
constexpr int kLinesMax = 200;

// Until the socket is readable or writable, whichever `events` asks for.
absl::Status Await(const Descriptor& socket, short events, const std::string& address, Time deadline) {
  const double left = ToSeconds(deadline - SteadyClock().Now());
  pollfd ready{.fd = socket.get(), .events = events, .revents = 0};
  if (left > 0 && poll(&ready, 1, static_cast<int>(left * 1e3) + 1) > 0) return absl::OkStatus();
  return absl::DeadlineExceededError(absl::StrCat(address, " has not answered in time"));
}

}  // namespace

std::string NcclStatusAddress() {
  const char* enabled = std::getenv("NCCL_RAS_ENABLE");
  if (enabled != nullptr && std::strcmp(enabled, "0") == 0) return "";
  const char* address = std::getenv("NCCL_RAS_ADDR");
  return address != nullptr && *address != '\0' ? address : "localhost:28028";
}

absl::StatusOr<std::string> AskNcclStatus(const std::string& address, Duration within) {
  const Time deadline = SteadyClock().Now() + within;
  BALLAST_ASSIGN_OR_RETURN(const SocketAddress resolved, ResolveHostPort(address));
  BALLAST_ASSIGN_OR_RETURN(const Descriptor socket, StartConnect(resolved));
  BALLAST_RETURN_IF_ERROR(Await(socket, POLLOUT, address, deadline));
  if (const int error = ConnectError(socket); error != 0) {
    return absl::UnavailableError(absl::StrCat(address, ": ", std::strerror(error)));
  }
  BALLAST_RETURN_IF_ERROR(SendAll(socket, kQuestion));
  std::string answer, detail;
  while (answer.size() <= kAnswerBytesMax) {
    BALLAST_RETURN_IF_ERROR(Await(socket, POLLIN, address, deadline));
    if (ReadSome(socket, answer, detail) == ReadResult::kClosed) break;
  }
  if (answer.empty()) return absl::UnavailableError(absl::StrCat(address, " answered nothing: ", detail));
  return answer;
}

NcclStatusLog::NcclStatusLog(std::string address, Duration within)
    : address_(std::move(address)), within_(within), thread_([this] { Loop(); }) {}

NcclStatusLog::~NcclStatusLog() {
  {
    MutexLock lock(mutex_);
    ending_ = true;
    changed_.SignalAll();
  }
  thread_.join();
}

void NcclStatusLog::Ask() {
  MutexLock lock(mutex_);
  asked_ = true;
  changed_.SignalAll();
}

void NcclStatusLog::Loop() {
  while (true) {
    {
      MutexLock lock(mutex_);
      while (!asked_ && !ending_) changed_.Wait(mutex_);
      if (!asked_) return;
    }
    const absl::StatusOr<std::string> answer = AskNcclStatus(address_, within_);
    {
      MutexLock lock(mutex_);
      asked_ = false;
    }
    if (!answer.ok()) {
      Log(LogLevel::kWarning, "NCCL's RAS does not answer", {{"why", answer.status().ToString()}});
      continue;
    }
    std::istringstream lines(*answer);
    std::string line;
    for (int i = 0; i < kLinesMax && std::getline(lines, line); ++i) {
      if (!line.empty()) Log(LogLevel::kWarning, "NCCL RAS", {{"says", line}});
    }
  }
}

}  // namespace ballast
