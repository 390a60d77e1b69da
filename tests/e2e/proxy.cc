#include "tests/e2e/proxy.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"

namespace ballast {
namespace {

constexpr int kLookEveryMs = 20;  // at what the test asks for

sockaddr_in Loopback(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<uint16_t>(port));
  return address;
}

int NewSocket() { return socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0); }

// False when either side has closed.
bool PassOn(int from, int to) {
  char data[16384];
  const ssize_t got = recv(from, data, sizeof data, 0);
  for (ssize_t sent = 0; sent < got;) {
    const ssize_t n = send(to, data + sent, static_cast<size_t>(got - sent), MSG_NOSIGNAL);
    if (n <= 0) return false;
    sent += n;
  }
  return got > 0;
}

}  // namespace

Proxy::Proxy(int target) : target_(target), listener_(NewSocket()) {
  sockaddr_in address = Loopback(0);
  socklen_t bytes = sizeof address;
  BALLAST_CHECK(listener_ >= 0 && bind(listener_, reinterpret_cast<sockaddr*>(&address), bytes) == 0 &&
                listen(listener_, 16) == 0 &&
                getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &bytes) == 0);
  port_ = ntohs(address.sin_port);
  thread_ = std::thread([this] { Loop(); });
}

Proxy::~Proxy() {
  ending_ = true;
  thread_.join();
  CloseAll();
  close(listener_);
}

void Proxy::Loop() {
  while (!ending_) {
    if (cut_) CloseAll();
    std::vector<pollfd> polled = {{listener_, POLLIN, 0}};
    for (const auto& [near, far] : pairs_) {
      polled.push_back({near, POLLIN, 0});
      polled.push_back({far, POLLIN, 0});
    }
    if (poll(polled.data(), polled.size(), kLookEveryMs) <= 0) continue;
    std::vector<std::pair<int, int>> open;
    for (size_t i = 0; i < pairs_.size(); ++i) {
      const auto [near, far] = pairs_[i];
      const bool stays = (polled[2 * i + 1].revents == 0 || PassOn(near, far)) &&
                         (polled[2 * i + 2].revents == 0 || PassOn(far, near));
      if (stays) {
        open.push_back(pairs_[i]);
      } else {
        close(near);
        close(far);
      }
    }
    pairs_ = std::move(open);
    if (polled[0].revents != 0) Accept();
  }
}

void Proxy::Accept() {
  const int near = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
  const int far = NewSocket();
  const sockaddr_in address = Loopback(target_);
  if (near >= 0 && far >= 0 && !cut_ &&
      connect(far, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
    pairs_.emplace_back(near, far);
    return;
  }
  if (near >= 0) close(near);
  if (far >= 0) close(far);
}

void Proxy::CloseAll() {
  for (const auto& [near, far] : pairs_) {
    close(near);
    close(far);
  }
  pairs_.clear();
}

}  // namespace ballast
