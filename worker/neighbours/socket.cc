#include "worker/neighbours/socket.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace ballast {
namespace {

absl::Status SystemError(const std::string& what) {
  return absl::UnavailableError(absl::StrCat(what, ": ", std::strerror(errno)));
}

absl::StatusOr<Descriptor> NewSocket(int family) {
  Descriptor socket(::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket.valid()) return SystemError("socket");
  return socket;
}

void SendAtOnce(const Descriptor& socket) {
  int on = 1;
  setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

}  // namespace

void Descriptor::Close() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

absl::StatusOr<SocketAddress> ResolveHost(const std::string& host, int port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV;
  addrinfo* found = nullptr;
  int error = getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
  if (error != 0) {
    return absl::UnavailableError(absl::StrCat("host \"", host, "\": ", gai_strerror(error)));
  }
  SocketAddress address{
      .bytes = std::string(reinterpret_cast<const char*>(found->ai_addr), found->ai_addrlen),
      .family = found->ai_family};
  freeaddrinfo(found);
  return address;
}

absl::StatusOr<SocketAddress> ResolveHostPort(const std::string& host_port) {
  size_t colon = host_port.rfind(':');
  int port = 0;
  if (colon == std::string::npos || colon == 0 || !absl::SimpleAtoi(host_port.substr(colon + 1), &port) ||
      port < 1 || port > 65535) {
    return absl::InvalidArgumentError(
        absl::StrCat("address \"", host_port, "\": allowed is HOST:PORT, PORT 1..65535"));
  }
  std::string host = host_port.substr(0, colon);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  return ResolveHost(host, port);
}

absl::StatusOr<Descriptor> ListenOn(const SocketAddress& address, int backlog) {
  BALLAST_ASSIGN_OR_RETURN(Descriptor socket, NewSocket(address.family));
  int on = 1;
  setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(socket.get(), reinterpret_cast<const sockaddr*>(address.bytes.data()),
           static_cast<socklen_t>(address.bytes.size())) != 0) {
    return SystemError("bind");
  }
  if (listen(socket.get(), backlog) != 0) return SystemError("listen");
  return socket;
}

absl::StatusOr<int> LocalPort(const Descriptor& socket) {
  sockaddr_storage address{};
  socklen_t bytes = sizeof address;
  if (getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address), &bytes) != 0)
    return SystemError("getsockname");
  if (address.ss_family == AF_INET) return ntohs(reinterpret_cast<sockaddr_in*>(&address)->sin_port);
  return ntohs(reinterpret_cast<sockaddr_in6*>(&address)->sin6_port);
}

absl::StatusOr<Descriptor> StartConnect(const SocketAddress& address) {
  BALLAST_ASSIGN_OR_RETURN(Descriptor socket, NewSocket(address.family));
  SendAtOnce(socket);
  int result = connect(socket.get(), reinterpret_cast<const sockaddr*>(address.bytes.data()),
                       static_cast<socklen_t>(address.bytes.size()));
  if (result != 0 && errno != EINPROGRESS) return SystemError("connect");
  return socket;
}

int ConnectError(const Descriptor& socket) {
  int error = 0;
  socklen_t bytes = sizeof error;
  if (getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &error, &bytes) != 0) return errno;
  return error;
}

Descriptor Accept(const Descriptor& listener) {
  Descriptor socket(accept4(listener.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (socket.valid()) SendAtOnce(socket);
  return socket;
}

ReadResult ReadSome(const Descriptor& socket, std::string& bytes, std::string& detail) {
  char buffer[4096];
  ssize_t got = recv(socket.get(), buffer, sizeof buffer, 0);
  if (got > 0) {
    bytes.append(buffer, static_cast<size_t>(got));
    return ReadResult::kData;
  }
  if (got == 0) {
    detail = "the connection was closed";
    return ReadResult::kClosed;
  }
  if (errno == EAGAIN || errno == EINTR) return ReadResult::kNothing;
  detail = std::strerror(errno);
  return ReadResult::kClosed;
}

absl::Status SendAll(const Descriptor& socket, const std::string& bytes) {
  ssize_t sent = send(socket.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
  if (sent == static_cast<ssize_t>(bytes.size())) return absl::OkStatus();
  if (sent >= 0) return absl::UnavailableError("send: the peer does not read");
  return SystemError("send");
}

}  // namespace ballast
