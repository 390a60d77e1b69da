#include "worker/daemon/data_address.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "worker/neighbours/socket.h"

namespace ballast {

absl::StatusOr<std::string> AddressTowards(const std::string& host_port) {
  BALLAST_ASSIGN_OR_RETURN(SocketAddress address, ResolveHostPort(host_port));
  Descriptor socket(::socket(address.family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_storage local{};
  socklen_t bytes = sizeof local;
  if (!socket.valid() ||
      connect(socket.get(), reinterpret_cast<const sockaddr*>(address.bytes.data()),
              static_cast<socklen_t>(address.bytes.size())) != 0 ||
      getsockname(socket.get(), reinterpret_cast<sockaddr*>(&local), &bytes) != 0) {
    return absl::UnavailableError(
        absl::StrCat("no way to ", host_port, ": ", std::strerror(errno), "; give --data-address"));
  }
  char text[INET6_ADDRSTRLEN] = {};
  const void* ip = local.ss_family == AF_INET
                       ? static_cast<const void*>(&reinterpret_cast<sockaddr_in*>(&local)->sin_addr)
                       : static_cast<const void*>(&reinterpret_cast<sockaddr_in6*>(&local)->sin6_addr);
  inet_ntop(local.ss_family, ip, text, sizeof text);
  return std::string(text);
}

bool IsLoopback(const std::string& host) {
  return absl::StartsWith(host, "127.") || host == "::1" || host == "localhost";
}

absl::StatusOr<std::string> HostIdentity() {
  std::string boot;
  std::ifstream("/proc/sys/kernel/random/boot_id") >> boot;
  struct stat network{};
  if (boot.empty() || stat("/proc/self/ns/net", &network) != 0) {
    return absl::UnavailableError(
        "which host this is cannot be told: /proc/sys/kernel/random/boot_id and /proc/self/ns/net are "
        "needed");
  }
  return absl::StrCat(boot, "/", network.st_ino);
}

absl::Status CheckReachable(const std::vector<Member>& members) {
  auto reaches = [](const Member& from, const Member& to) {
    if (!IsLoopback(to.data_address)) return true;
    return from.host.empty() || to.host.empty() ? IsLoopback(from.data_address) : from.host == to.host;
  };
  for (const Member& near : members) {
    for (const Member& far : members) {
      if (reaches(far, near)) continue;
      return absl::InvalidArgumentError(absl::StrCat(
          "worker ", near.worker.value(), " on node ", near.node, " advertises the loopback address ",
          near.data_address, ", which worker ", far.worker.value(), " on node ", far.node, " at ",
          far.data_address,
          " cannot reach: start it with --data-address and an address that other hosts can reach"));
    }
  }
  return absl::OkStatus();
}

}  // namespace ballast
