// The words of a probe: what a daemon asks of another one's answering thread, over a blocking TCP connection.
//
// A question is "ballast1", the number of bytes that follow and the number of bytes wanted back, each as 8
// bytes, little-endian. The answer, when all has been read, is one byte and then as many as were wanted.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/clock.h"
#include "worker/neighbours/socket.h"

namespace ballast {

// A connection with a limit on every silence. Not thread-safe.
class ProbeConnection {
 public:
  // `cancelled` is looked at several times a second; it ends every wait.
  ProbeConnection(Descriptor socket, Duration silence_max, std::function<bool()> cancelled);

  static absl::StatusOr<ProbeConnection> Dial(const std::string& address, Duration silence_max,
                                              std::function<bool()> cancelled);

  // Seconds for `bytes` to get there and a word back, or for a word to get there and `bytes` back.
  absl::StatusOr<double> TimeThere(int64_t bytes) { return Question(bytes, 0); }
  absl::StatusOr<double> TimeBack(int64_t bytes) { return Question(0, bytes); }

  // Answers questions until the peer closes (OK), `until`, or a question that no prober asks.
  absl::Status Answer(Time until);

 private:
  absl::StatusOr<double> Question(int64_t there, int64_t back);
  absl::Status Write(int64_t bytes);
  absl::Status WriteText(const std::string& text);
  absl::Status Read(int64_t bytes);
  // True when all came; false when the peer closed before the first byte.
  absl::StatusOr<bool> ReadText(size_t bytes, std::string& text);
  absl::Status WaitFor(short events);

  Descriptor socket_;
  Duration silence_max_;
  std::function<bool()> cancelled_;
  std::string buffer_;
};

}  // namespace ballast
