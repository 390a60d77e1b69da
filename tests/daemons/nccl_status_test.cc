// The question to NCCL's RAS port, against ports that answer, do not answer, and are not there.
#include "worker/daemon/nccl_status.h"

#include <gtest/gtest.h>
#include <poll.h>

#include <atomic>
#include <cstdlib>
#include <functional>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "worker/neighbours/socket.h"

namespace ballast {
namespace {

// A listener on loopback that hands every connection to `serve`, on a thread of its own.
class Port {
 public:
  explicit Port(std::function<void(const Descriptor&)> serve) : serve_(std::move(serve)) {
    listener_ = ListenOn(ResolveHost("127.0.0.1", 0).value(), 8).value();
    port_ = LocalPort(listener_).value();
    thread_ = std::thread([this] { Loop(); });
  }
  ~Port() {
    ending_ = true;
    thread_.join();
  }
  std::string address() const { return absl::StrCat("127.0.0.1:", port_); }
  int connections() const { return connections_; }

 private:
  void Loop() {
    while (!ending_) {
      pollfd ready{.fd = listener_.get(), .events = POLLIN, .revents = 0};
      if (poll(&ready, 1, 10) <= 0) continue;
      Descriptor connection = Accept(listener_);
      if (!connection.valid()) continue;
      ++connections_;
      serve_(connection);
    }
  }
  const std::function<void(const Descriptor&)> serve_;
  Descriptor listener_;
  int port_ = 0;
  std::atomic<int> connections_ = 0;
  std::atomic<bool> ending_ = false;
  std::thread thread_;
};

std::string ReadLine(const Descriptor& socket) {
  std::string line, detail;
  while (line.find('\n') == std::string::npos) {
    pollfd ready{.fd = socket.get(), .events = POLLIN, .revents = 0};
    if (poll(&ready, 1, 5000) <= 0 || ReadSome(socket, line, detail) == ReadResult::kClosed) break;
  }
  return line;
}

TEST(NcclStatus, TheAnswerIsReadToItsEnd) {
  std::string question;
  const Port port([&](const Descriptor& connection) {
    question = ReadLine(connection);
    BALLAST_CHECK_OK(SendAll(connection, "NCCL version 2.28.9\n"));
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
    BALLAST_CHECK_OK(SendAll(connection, "1 process is missing\n"));
  });
  const auto answer = AskNcclStatus(port.address(), Seconds(10));
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(*answer, "NCCL version 2.28.9\n1 process is missing\n");
  EXPECT_EQ(question, "verbose status\n");
}

TEST(NcclStatus, WhoDoesNotAnswerIsNamed) {
  std::atomic<bool> asked = false;
  std::string dead;
  {
    const Port silent([&](const Descriptor&) {
      while (!asked) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    });
    const absl::Status late = AskNcclStatus(silent.address(), Seconds(0.1)).status();
    asked = true;
    EXPECT_EQ(late.code(), absl::StatusCode::kDeadlineExceeded) << late;
    EXPECT_NE(std::string(late.message()).find(silent.address()), std::string::npos) << late;
    dead = silent.address();
  }
  const absl::Status nobody = AskNcclStatus(dead, Seconds(10)).status();
  EXPECT_EQ(nobody.code(), absl::StatusCode::kUnavailable) << nobody;
  EXPECT_NE(std::string(nobody.message()).find(dead), std::string::npos) << nobody;
  EXPECT_EQ(AskNcclStatus("28028", Seconds(10)).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(NcclStatus, TheEnvironmentSaysWhere) {
  unsetenv("NCCL_RAS_ADDR");
  EXPECT_EQ(NcclStatusAddress(), "localhost:28028");
  setenv("NCCL_RAS_ADDR", "10.0.0.1:7", 1);
  EXPECT_EQ(NcclStatusAddress(), "10.0.0.1:7");
  setenv("NCCL_RAS_ENABLE", "0", 1);
  EXPECT_EQ(NcclStatusAddress(), "");
  unsetenv("NCCL_RAS_ENABLE");
  unsetenv("NCCL_RAS_ADDR");
}

TEST(NcclStatusLog, RanksThatFailTogetherMakeOneQuestionAndEachLineIsLogged) {
  std::atomic<bool> go = false;
  const Port port([&](const Descriptor& connection) {
    while (!go) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    BALLAST_CHECK_OK(SendAll(connection, "first line\n\nsecond line\n"));
  });
  testing::internal::CaptureStderr();
  {
    NcclStatusLog log(port.address(), Seconds(10));
    for (int rank = 0; rank < 8; ++rank) log.Ask();
    while (port.connections() == 0) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    for (int rank = 0; rank < 8; ++rank) log.Ask();
    go = true;
  }
  const std::string logged = testing::internal::GetCapturedStderr();
  EXPECT_NE(logged.find("first line"), std::string::npos) << logged;
  EXPECT_NE(logged.find("second line"), std::string::npos) << logged;
  EXPECT_EQ(port.connections(), 1);
}

TEST(NcclStatusLog, APortThatIsNotThereIsALineInTheLog) {
  std::string dead;
  {
    const Port port([](const Descriptor&) {});
    dead = port.address();
  }
  testing::internal::CaptureStderr();
  {
    NcclStatusLog log(dead, Seconds(10));
    log.Ask();
  }  // a question that was put is answered first
  EXPECT_NE(testing::internal::GetCapturedStderr().find("NCCL's RAS does not answer"), std::string::npos);
}

}  // namespace
}  // namespace ballast
