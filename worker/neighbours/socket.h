// Non-blocking TCP sockets for the neighbour watch. Every descriptor is owned, close-on-exec and closed once.
#pragma once

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

struct sockaddr_storage;

namespace ballast {

class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Descriptor() { Close(); }
  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  void Close();

 private:
  int fd_ = -1;
};

// A host:port made usable: numeric, so that dialling never waits for a name server.
struct SocketAddress {
  std::string bytes;  // a sockaddr of that many bytes
  int family = 0;
};

// "host:port" or "[v6]:port". Looks names up, so it may block. InvalidArgument for a text of another shape.
absl::StatusOr<SocketAddress> ResolveHostPort(const std::string& host_port);
absl::StatusOr<SocketAddress> ResolveHost(const std::string& host, int port);

absl::StatusOr<Descriptor> ListenOn(const SocketAddress& address, int backlog);
absl::StatusOr<int> LocalPort(const Descriptor& socket);
// The connection may still be under way: writable means it stands or failed.
absl::StatusOr<Descriptor> StartConnect(const SocketAddress& address);
// 0 when the connection stands, else the errno it failed with.
int ConnectError(const Descriptor& socket);
// A waiting connection; invalid when there is none.
Descriptor Accept(const Descriptor& listener);

enum class ReadResult { kNothing, kData, kClosed };
// Appends what there is to `bytes`. kClosed for an end of file or an error, told in `detail`.
ReadResult ReadSome(const Descriptor& socket, std::string& bytes, std::string& detail);
// Sends all of `bytes` or says why not; the few bytes of the watch always fit into an empty socket buffer.
absl::Status SendAll(const Descriptor& socket, const std::string& bytes);

}  // namespace ballast
