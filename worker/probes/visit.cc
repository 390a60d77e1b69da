#include "worker/probes/visit.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "worker/probes/link_estimate.h"

namespace ballast {
namespace {

constexpr char kMagic[] = "ballast1";
constexpr size_t kMagicBytes = 8;
constexpr size_t kQuestionBytes = kMagicBytes + 16;
constexpr size_t kBufferBytes = 256 << 10;
constexpr int kLookMs = 100;  // how often `cancelled` is looked at

Time Now() { return SteadyClock().Now(); }

std::string Encode(int64_t value) {
  std::string bytes(8, '\0');
  for (int i = 0; i < 8; ++i) bytes[i] = static_cast<char>(static_cast<uint64_t>(value) >> (8 * i));
  return bytes;
}

int64_t Decode(const char* bytes) {
  uint64_t value = 0;
  for (int i = 0; i < 8; ++i) value |= static_cast<uint64_t>(static_cast<unsigned char>(bytes[i])) << (8 * i);
  return static_cast<int64_t>(value);
}

absl::Status SystemError(const char* what) {
  return absl::UnavailableError(absl::StrCat(what, ": ", std::strerror(errno)));
}

bool MustWait() { return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR; }

}  // namespace

ProbeConnection::ProbeConnection(Descriptor socket, Duration silence_max, std::function<bool()> cancelled)
    : socket_(std::move(socket)),
      silence_max_(silence_max),
      cancelled_(std::move(cancelled)),
      buffer_(kBufferBytes, 'p') {}

absl::StatusOr<ProbeConnection> ProbeConnection::Dial(const std::string& address, Duration silence_max,
                                                      std::function<bool()> cancelled) {
  BALLAST_ASSIGN_OR_RETURN(SocketAddress resolved, ResolveHostPort(address));
  BALLAST_ASSIGN_OR_RETURN(Descriptor socket, StartConnect(resolved));
  ProbeConnection connection(std::move(socket), silence_max, std::move(cancelled));
  BALLAST_RETURN_IF_ERROR(connection.WaitFor(POLLOUT));
  const int error = ConnectError(connection.socket_);
  if (error != 0) return absl::UnavailableError(absl::StrCat("connect: ", std::strerror(error)));
  return connection;
}

absl::StatusOr<double> ProbeConnection::Question(int64_t there, int64_t back) {
  const Time begin = Now();
  BALLAST_RETURN_IF_ERROR(WriteText(absl::StrCat(kMagic, Encode(there), Encode(back))));
  BALLAST_RETURN_IF_ERROR(Write(there));
  BALLAST_RETURN_IF_ERROR(Read(1 + back));
  return std::max(ToSeconds(Now() - begin), 1e-9);
}

absl::Status ProbeConnection::Answer(Time until) {
  while (true) {
    std::string question;
    BALLAST_ASSIGN_OR_RETURN(const bool asked, ReadText(kQuestionBytes, question));
    if (!asked) return absl::OkStatus();
    if (Now() >= until) return absl::DeadlineExceededError("the visit is too long");
    const int64_t there = Decode(question.data() + kMagicBytes);
    const int64_t back = Decode(question.data() + kMagicBytes + 8);
    if (question.compare(0, kMagicBytes, kMagic) != 0 || there < 0 || there > kProbeBytesMax || back < 0 ||
        back > kProbeBytesMax) {
      return absl::InvalidArgumentError("not a prober's question");
    }
    BALLAST_RETURN_IF_ERROR(Read(there));
    BALLAST_RETURN_IF_ERROR(Write(1 + back));
  }
}

absl::Status ProbeConnection::WriteText(const std::string& text) {
  size_t done = 0;
  while (done < text.size()) {
    const ssize_t sent = send(socket_.get(), text.data() + done, text.size() - done, MSG_NOSIGNAL);
    if (sent > 0) {
      done += static_cast<size_t>(sent);
    } else if (sent < 0 && MustWait()) {
      BALLAST_RETURN_IF_ERROR(WaitFor(POLLOUT));
    } else {
      return SystemError("send");
    }
  }
  return absl::OkStatus();
}

absl::Status ProbeConnection::Write(int64_t bytes) {
  while (bytes > 0) {
    const size_t part = std::min(buffer_.size(), static_cast<size_t>(bytes));
    const ssize_t sent = send(socket_.get(), buffer_.data(), part, MSG_NOSIGNAL);
    if (sent > 0) {
      bytes -= sent;
    } else if (sent < 0 && MustWait()) {
      BALLAST_RETURN_IF_ERROR(WaitFor(POLLOUT));
    } else {
      return SystemError("send");
    }
  }
  return absl::OkStatus();
}

absl::Status ProbeConnection::Read(int64_t bytes) {
  while (bytes > 0) {
    const size_t part = std::min(buffer_.size(), static_cast<size_t>(bytes));
    const ssize_t got = recv(socket_.get(), buffer_.data(), part, 0);
    if (got > 0) {
      bytes -= got;
    } else if (got == 0) {
      return absl::UnavailableError("the peer closed the connection");
    } else if (MustWait()) {
      BALLAST_RETURN_IF_ERROR(WaitFor(POLLIN));
    } else {
      return SystemError("recv");
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> ProbeConnection::ReadText(size_t bytes, std::string& text) {
  while (text.size() < bytes) {
    char part[64];
    const ssize_t got = recv(socket_.get(), part, std::min(sizeof part, bytes - text.size()), 0);
    if (got > 0) {
      text.append(part, static_cast<size_t>(got));
    } else if (got == 0 && text.empty()) {
      return false;
    } else if (got < 0 && MustWait()) {
      BALLAST_RETURN_IF_ERROR(WaitFor(POLLIN));
    } else {
      return got == 0 ? absl::UnavailableError("the peer closed the connection") : SystemError("recv");
    }
  }
  return true;
}

absl::Status ProbeConnection::WaitFor(short events) {
  const Time deadline = Now() + silence_max_;
  while (!cancelled_()) {
    pollfd ready{socket_.get(), events, 0};
    const int count = poll(&ready, 1, kLookMs);
    if (count > 0) return absl::OkStatus();
    if (count < 0 && errno != EINTR) return SystemError("poll");
    if (Now() >= deadline) {
      return absl::DeadlineExceededError(absl::StrCat("no answer for ", ToSeconds(silence_max_), " s"));
    }
  }
  return absl::CancelledError("stopped");
}

}  // namespace ballast
