// A TCP relay to a port of this machine that first keeps every new connection waiting: a slow link for tests.
#pragma once

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <thread>
#include <vector>

#include "base/check.h"

namespace ballast {

class SlowRelay {
 public:
  SlowRelay(int to_port, std::chrono::milliseconds delay) : listener_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address = Loopback(0);
    socklen_t size = sizeof address;
    BALLAST_CHECK(bind(listener_, reinterpret_cast<sockaddr*>(&address), size) == 0 &&
                  listen(listener_, 8) == 0);
    BALLAST_CHECK(getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) == 0);
    port_ = ntohs(address.sin_port);
    accepting_ = std::thread([this, to_port, delay] { Accept(to_port, delay); });
  }
  ~SlowRelay() {
    shutdown(listener_, SHUT_RDWR);
    accepting_.join();
    for (int end : ends_) shutdown(end, SHUT_RDWR);
    for (std::thread& pump : pumps_) pump.join();
    for (int end : ends_) close(end);
    close(listener_);
  }
  SlowRelay(const SlowRelay&) = delete;
  SlowRelay& operator=(const SlowRelay&) = delete;

  int port() const { return port_; }

 private:
  static sockaddr_in Loopback(int port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
  }
  void Accept(int to_port, std::chrono::milliseconds delay) {
    for (int near = accept(listener_, nullptr, nullptr); near >= 0;
         near = accept(listener_, nullptr, nullptr)) {
      std::this_thread::sleep_for(delay);
      const int far = socket(AF_INET, SOCK_STREAM, 0);
      const sockaddr_in address = Loopback(to_port);
      BALLAST_CHECK(connect(far, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
      ends_.insert(ends_.end(), {near, far});
      pumps_.emplace_back(Pump, near, far);
      pumps_.emplace_back(Pump, far, near);
    }
  }
  static void Pump(int from, int to) {
    char buffer[4096];
    for (ssize_t n = read(from, buffer, sizeof buffer); n > 0; n = read(from, buffer, sizeof buffer)) {
      for (ssize_t sent = 0; sent < n;) {
        const ssize_t wrote = send(to, buffer + sent, static_cast<size_t>(n - sent), MSG_NOSIGNAL);
        if (wrote <= 0) return;
        sent += wrote;
      }
    }
    shutdown(to, SHUT_WR);
  }

  const int listener_;
  int port_ = 0;
  std::vector<int> ends_;           // of the accepting thread, then of the destructor
  std::vector<std::thread> pumps_;  // likewise
  std::thread accepting_;
};

}  // namespace ballast
