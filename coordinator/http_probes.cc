#include "coordinator/http_probes.h"

#include <httplib.h>

#include <thread>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace ballast {
namespace {

constexpr int kThreads = 2;

class Probes final : public HttpProbes {
 public:
  explicit Probes(std::function<bool()> ready) {
    server_.new_task_queue = [] { return new httplib::ThreadPool(kThreads); };
    server_.set_keep_alive_timeout(1);
    server_.set_read_timeout(2, 0);
    server_.set_write_timeout(2, 0);
    server_.Get("/healthz", [](const httplib::Request&, httplib::Response& response) {
      response.set_content("ok\n", "text/plain");
    });
    server_.Get("/readyz", [ready = std::move(ready)](const httplib::Request&, httplib::Response& response) {
      bool is_ready = ready();
      response.status = is_ready ? 200 : 503;
      response.set_content(is_ready ? "ready\n" : "not leading\n", "text/plain");
    });
  }

  ~Probes() override {
    server_.stop();
    if (thread_.joinable()) thread_.join();
  }

  absl::Status Listen(const std::string& host, int port) {
    port_ = port == 0 ? server_.bind_to_any_port(host.c_str())
                      : (server_.bind_to_port(host.c_str(), port) ? port : -1);
    if (port_ <= 0)
      return absl::UnavailableError(absl::StrCat("--http ", host, ":", port, ": cannot be listened on"));
    thread_ = std::thread([this] { server_.listen_after_bind(); });
    while (!server_.is_running()) std::this_thread::yield();  // stop() before that would be lost
    return absl::OkStatus();
  }

  int port() const override { return port_; }

 private:
  httplib::Server server_;
  int port_ = 0;
  std::thread thread_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<HttpProbes>> HttpProbes::Start(const std::string& address,
                                                              std::function<bool()> ready) {
  size_t colon = address.rfind(':');
  int port = 0;
  if (colon == std::string::npos || colon == 0 || !absl::SimpleAtoi(address.substr(colon + 1), &port) ||
      port < 0 || port > 65535) {
    return absl::InvalidArgumentError(absl::StrCat("--http: found \"", address, "\", allowed: HOST:PORT"));
  }
  auto probes = std::make_unique<Probes>(std::move(ready));
  absl::Status status = probes->Listen(address.substr(0, colon), port);
  if (!status.ok()) return status;
  return probes;
}

}  // namespace ballast
