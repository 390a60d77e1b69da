#include "worker/comm/gloo_connect.h"

#include <gloo/context.h>
#include <gloo/transport/context.h>
#include <gloo/transport/pair.h>
#include <gloo/transport/tcp/device.h>
#include <netdb.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <exception>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/mutex.h"
#include "base/status_macros.h"

namespace ballast {
namespace {

Time Now() { return std::chrono::time_point_cast<Duration>(std::chrono::steady_clock::now()); }

// Gloo's connections to all peers, which its own rendezvous would make in a way that nobody can end.
class Mesh final : public gloo::Context {
 public:
  // Listens for every peer. Throws as Gloo does.
  Mesh(const GlooOptions& options, std::shared_ptr<gloo::transport::Device> device)
      : gloo::Context(options.rank.value(), options.size) {
    device_ = std::move(device);
    transportContext_ = device_->createContext(rank, size);
    // Gloo waits up to five times its timeout for one connection.
    auto left = std::chrono::duration_cast<std::chrono::milliseconds>(options.deadline - Now());
    transportContext_->setTimeout(std::max(left / 5, std::chrono::milliseconds(1)));
    for (int peer = 0; peer < size; ++peer) {
      if (peer != rank) transportContext_->createPair(peer)->setLocalRank(0);
    }
  }

  // What the others need to connect: the addresses for the peers, one after the other, of equal length.
  std::string Addresses() {
    std::string all;
    for (int peer = 0; peer < size; ++peer) {
      if (peer == rank) continue;
      const std::vector<char> one = getPair(peer)->address().bytes();
      all.append(one.begin(), one.end());
    }
    return all;
  }

  // Blocks until the connection to `peer` stands, which has put `addresses`. Aborted; throws as Gloo does.
  absl::Status Connect(int peer, const std::string& addresses) EXCLUDES(mutex_) {
    gloo::transport::Pair& pair = *getPair(peer);
    {
      MutexLock lock(mutex_);
      if (aborted_) return absl::AbortedError(reason_);
      connecting_ = &pair;
    }
    const size_t one = addresses.size() / static_cast<size_t>(size - 1);
    const char* mine = addresses.data() + one * static_cast<size_t>(rank < peer ? rank : rank - 1);
    std::exception_ptr failed;
    try {
      pair.connect(std::vector<char>(mine, mine + one));
    } catch (...) {
      failed = std::current_exception();
    }
    MutexLock lock(mutex_);
    connecting_ = nullptr;
    if (aborted_) return absl::AbortedError(reason_);
    if (failed != nullptr) std::rethrow_exception(failed);
    return absl::OkStatus();
  }

  // Ends Connect and every later one. From any thread. Closes the pair that is waited for and no other:
  // close() resets the connection, and one that is reset between its begin and the peer's accepting ends the
  // peer's process inside Gloo; the others end with the mesh, without a reset.
  void Abort(const std::string& reason) EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    aborted_ = true;
    reason_ = reason;
    if (connecting_ != nullptr) connecting_->close();
  }

 private:
  Mutex mutex_;
  bool aborted_ GUARDED_BY(mutex_) = false;
  std::string reason_ GUARDED_BY(mutex_);
  gloo::transport::Pair* connecting_ GUARDED_BY(mutex_) = nullptr;  // that Connect waits for
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
  int peer = -1;
  try {
    auto mesh = std::make_shared<Mesh>(options, std::move(device));
    const AbortSignal::Watch watch(store.aborted(), [&](const std::string& reason) { mesh->Abort(reason); });
    auto key = [&](int rank) {
      return absl::StrCat("generation ", options.generation.value(), "/rank ", rank);
    };
    BALLAST_RETURN_IF_ERROR(store.Put(key(options.rank.value()), mesh->Addresses()));
    // Who is not there at all is found out before anybody is waited for.
    std::vector<std::string> addresses(static_cast<size_t>(options.size));
    for (int r = 0; r < options.size; ++r) {
      if (r == options.rank.value()) continue;
      BALLAST_ASSIGN_OR_RETURN(addresses[static_cast<size_t>(r)], store.Get(key(r), options.deadline));
    }
    for (peer = 0; peer < options.size; ++peer) {
      if (peer == options.rank.value()) continue;
      BALLAST_RETURN_IF_ERROR(mesh->Connect(peer, addresses[static_cast<size_t>(peer)]));
    }
    return std::shared_ptr<gloo::Context>(std::move(mesh));
  } catch (const std::exception& error) {
    std::string text =
        absl::StrCat("rank ", options.rank.value(), " could not connect to ",
                     peer < 0 ? std::string("its peers") : absl::StrCat("rank ", peer), ": ", error.what());
    if (Now() >= options.deadline) return absl::DeadlineExceededError(text);
    return absl::UnavailableError(text);
  }
}

}  // namespace ballast
