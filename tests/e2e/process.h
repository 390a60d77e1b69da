// A child process of a test: started, waited for, and killed for certain at the end.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

namespace ballast {

class Process {
 public:
  // Runs argv[0] with an environment without BALLAST_ variables; stdout and stderr go to `log`. CHECK-fails
  // when it cannot be started.
  Process(std::vector<std::string> argv, std::string log);
  ~Process();  // kill -9 if it still runs
  Process(Process&& other) noexcept;
  Process& operator=(Process&& other) noexcept;

  pid_t pid() const { return pid_; }
  void Signal(int signal) const;
  // The exit code, or 128 + signal; nothing when it still runs after `seconds`.
  std::optional<int> Wait(double seconds);
  // kill -9, and waits for its end.
  void Kill();
  bool running();
  // What it has written so far.
  std::string Output() const;

 private:
  pid_t pid_ = -1;
  std::string log_;
  std::optional<int> code_;
};

// The whole file; empty when there is none.
std::string ReadFile(const std::string& path);

}  // namespace ballast
