#include "worker/comm/gloo_connect.h"

#include <gloo/rendezvous/context.h>
#include <gloo/rendezvous/store.h>
#include <gloo/transport/tcp/device.h>
#include <netdb.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <exception>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace ballast {
namespace {

Time Now() { return std::chrono::time_point_cast<Duration>(std::chrono::steady_clock::now()); }

// Thrown through Gloo, which knows exceptions alone, and caught in ConnectGlooMesh.
struct StatusError : std::runtime_error {
  explicit StatusError(absl::Status s) : std::runtime_error(s.ToString()), status(std::move(s)) {}
  absl::Status status;
};

class StoreAdapter final : public gloo::rendezvous::Store {
 public:
  StoreAdapter(RendezvousStore& store, std::string prefix, Time deadline)
      : store_(store), prefix_(std::move(prefix)), deadline_(deadline) {}

  void set(const std::string& key, const std::vector<char>& data) override {
    absl::Status status = store_.Put(prefix_ + key, std::string(data.begin(), data.end()));
    if (!status.ok()) throw StatusError(status);
  }
  std::vector<char> get(const std::string& key) override {
    absl::StatusOr<std::string> value = store_.Get(prefix_ + key, deadline_);
    if (!value.ok()) throw StatusError(value.status());
    return std::vector<char>(value->begin(), value->end());
  }
  void wait(const std::vector<std::string>& keys) override {
    for (const std::string& key : keys) get(key);
  }
  void wait(const std::vector<std::string>& keys, const std::chrono::milliseconds&) override { wait(keys); }

 private:
  RendezvousStore& store_;
  const std::string prefix_;
  const Time deadline_;
};

// Gloo leaks the list of addresses when it cannot bind to any, and does not say why; so this is found out
// before.
absl::Status CheckAddress(const std::string& address) {
  auto error = [&](const char* why) {
    return absl::InvalidArgumentError(
        absl::StrCat("cannot bind to the data address \"", address, "\": ", why));
  };
  addrinfo hints{}, *found = nullptr;
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  const int failed = getaddrinfo(address.c_str(), nullptr, &hints, &found);
  if (failed != 0) return error(gai_strerror(failed));
  absl::Status status = error("it has no address");
  for (const addrinfo* entry = found; entry != nullptr; entry = entry->ai_next) {
    const int fd = socket(entry->ai_family, entry->ai_socktype, entry->ai_protocol);
    const bool bound = fd >= 0 && bind(fd, entry->ai_addr, entry->ai_addrlen) == 0;
    status = bound ? absl::OkStatus() : error(std::strerror(errno));
    if (fd >= 0) close(fd);
    if (bound) break;
  }
  freeaddrinfo(found);
  return status;
}

// Gloo writes to its sockets without MSG_NOSIGNAL: a peer that has closed would end the process instead of
// the operation.
void IgnoreBrokenPipes() {
  struct sigaction now{};
  if (sigaction(SIGPIPE, nullptr, &now) == 0 && (now.sa_flags & SA_SIGINFO) == 0 &&
      now.sa_handler == SIG_DFL) {
    signal(SIGPIPE, SIG_IGN);
  }
}

}  // namespace

absl::StatusOr<std::shared_ptr<gloo::Context>> ConnectGlooMesh(const GlooOptions& options,
                                                               RendezvousStore& store) {
  if (options.size == 1) return std::shared_ptr<gloo::Context>();
  IgnoreBrokenPipes();
  BALLAST_RETURN_IF_ERROR(CheckAddress(options.data_address));
  std::shared_ptr<gloo::transport::Device> device;
  try {
    gloo::transport::tcp::attr attributes;
    attributes.hostname = options.data_address;
    device = gloo::transport::tcp::CreateDevice(attributes);
  } catch (const std::exception& error) {
    return absl::InvalidArgumentError(
        absl::StrCat("cannot bind to the data address \"", options.data_address, "\": ", error.what()));
  }
  try {
    auto context = std::make_shared<gloo::rendezvous::Context>(options.rank.value(), options.size);
    // Gloo waits up to five times its timeout for one connection.
    auto left = std::chrono::duration_cast<std::chrono::milliseconds>(options.deadline - Now());
    context->setTimeout(std::max(left / 5, std::chrono::milliseconds(1)));
    StoreAdapter adapter(store, absl::StrCat("generation ", options.generation.value(), "/rank "),
                         options.deadline);
    context->connectFullMesh(adapter, device);
    return std::shared_ptr<gloo::Context>(std::move(context));
  } catch (const StatusError& error) {
    return error.status;
  } catch (const std::exception& error) {
    std::string text = absl::StrCat("rank ", options.rank.value(), " could not connect to its ",
                                    options.size - 1, " peers: ", error.what());
    if (Now() >= options.deadline) return absl::DeadlineExceededError(text);
    return absl::UnavailableError(text);
  }
}

}  // namespace ballast
