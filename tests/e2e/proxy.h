// A TCP connection between two processes that a test can cut and mend.
#pragma once

#include <atomic>
#include <thread>
#include <utility>
#include <vector>

namespace ballast {

// Passes on everything between who connects to port() and 127.0.0.1:target. One thread; it ends with the
// object.
class Proxy {
 public:
  explicit Proxy(int target);
  ~Proxy();
  Proxy(const Proxy&) = delete;
  Proxy& operator=(const Proxy&) = delete;

  int port() const { return port_; }
  // Closes all connections; new ones are closed at once until Mend.
  void Cut() { cut_ = true; }
  void Mend() { cut_ = false; }

 private:
  void Loop();
  void Accept();
  void CloseAll();

  const int target_;
  int listener_ = -1;
  int port_ = 0;
  std::atomic<bool> cut_{false};
  std::atomic<bool> ending_{false};
  std::vector<std::pair<int, int>> pairs_;  // the thread's own: connected descriptors
  std::thread thread_;
};

}  // namespace ballast
